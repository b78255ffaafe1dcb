// Package sensors says what a reading is and how readings enter the street.
//
// A Source reads one device, broker or file and puts Samples into its Writer.
// The Writer gathers them into Batches of a Queue, whose number is fixed: that
// number, and nothing else, bounds the memory of everything read and not yet
// judged. One protocol lives in one sub-package; this package imports none.
package sensors

import (
	"context"
	"time"
)

// ChannelID numbers the channels of one street, dense from 0. It is given out
// by the Queue; a Source only knows its own channels, 0 to n-1.
type ChannelID uint32

// Channel is one measured quantity with a unit, named "machine.quantity".
type Channel struct {
	Name string
	Unit string // UCUM: "Cel", "mm/s", "bar"; empty where none is known
	// Scaling is how the source makes readings of what the device says, in words of
	// its own: "×0.1 +5"; empty where it does nothing to them.
	Scaling string
}

// Measure says what the channel's numbers mean. What was learned in another
// measure is worth nothing.
func (c Channel) Measure() string {
	if c.Scaling == "" {
		return c.Unit
	}
	return c.Unit + " " + c.Scaling
}

// Sample is one reading. It holds no pointer, so a batch of them costs the
// garbage collector nothing.
type Sample struct {
	Time    int64     // when it was measured, nanoseconds since 1970 UTC: Steady's, or the device's own
	Value   float64   // in the channel's unit
	Channel ChannelID // the source's own number when put, the street's when judged
	Quality Quality   // with DeviceTime where Time is the device's own
}

// Source reads one device, broker or file.
type Source interface {
	// Channels lists what the source reads. It is called once, before Run, and
	// must not touch the device.
	Channels() []Channel
	// Run reads until ctx ends or the connection is lost, and returns when every
	// goroutine it started has. A nil error says the source has nothing more to
	// give (a file read to its end); any other makes the caller run it again,
	// with back-off.
	Run(ctx context.Context, out *Writer) error
}

// Poller is a device that answers when asked. Poll makes a Source of it.
type Poller interface {
	Channels() []Channel
	Open(ctx context.Context) error
	// Read asks the device once and puts what it says.
	Read(ctx context.Context, out *Writer) error
	Close() error
}

// Poll asks p once every interval. A read that fails ends Run, which closes the
// device; the caller opens it again with back-off.
func Poll(p Poller, every time.Duration) Source { return &polled{p, every} }

type polled struct {
	Poller
	every time.Duration
}

func (s *polled) Run(ctx context.Context, out *Writer) (err error) {
	if err := s.Open(ctx); err != nil {
		return err
	}
	defer func() {
		if e := s.Close(); err == nil {
			err = e
		}
	}()
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		if err := s.Read(ctx, out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

var start = time.Now()

// Now is the monotonic clock of this process, in nanoseconds: what arrival
// times are measured on, because it never jumps.
func Now() int64 { return int64(time.Since(start)) }

// Steady is the time that sources stamp readings with which bring none of their
// own, in nanoseconds since 1970 UTC: what the wall clock said when the process
// began, carried on by the monotonic clock. So nothing jumps for who judges when
// the gateway's clock is set. Where people are told a time, tocsin/agent/clock
// says what is to be added.
func Steady() int64 { return start.UnixNano() + Now() }
