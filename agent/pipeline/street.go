// Package pipeline runs the street: sources, judge, keeper, forwarder. It is the
// only place, beside Run methods, that starts goroutines.
//
//	sources ──batches──▶ judge ──events──▶ keeper ──commits──▶ spool ──batches──▶ forwarder
//
// A fixed number of batches goes round between sources and judge, and a fixed
// number of events waits for the keeper: whatever stands still further down,
// memory does not grow.
package pipeline

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tocsin/sensors"
	"tocsin/uplink"
)

// Street is everything between the sensors and Kafka. Build it whole, then Run
// it once.
type Street struct {
	Queue     *sensors.Queue
	Sources   []*Source
	Judge     *Judge
	Keeper    *Keeper
	Forwarder *uplink.Forwarder // nil: events stay in the spool
	Log       *slog.Logger
	Empty     func() bool // whether the spool holds nothing that waits
	// Once makes Run return by itself when every source has come to its end and
	// what they made is delivered.
	Once bool
	// Grace is how long a stop may take in all; what is not done by then is cut
	// off. Everything on disk is safe all the same.
	Grace time.Duration
}

// parting is how long a stop waits for Kafka to take what is in the spool: not
// to lose it, only to let it be seen sooner.
const parting = 2 * time.Second

// Run starts the street from its end, so that nothing is made before there is
// somebody to take it, and stops it from its beginning:
//
//	start: forwarder, keeper, judge, sources
//	stop:  sources (ctx; half of the grace at most) · judge (its queue is closed
//	       and empty) · keeper (its events are on disk) · forwarder (the send under
//	       way is over)
//
// ctx ends the sources only. Each later stage ends because the one before it
// has; the hard deadline is the only second cancel.
func (s *Street) Run(ctx context.Context) {
	hard, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	var forwarder, keeper, judge, sources sync.WaitGroup
	send, stopSending := context.WithCancel(hard)
	defer stopSending()

	if s.Forwarder != nil {
		forwarder.Go(func() {
			if err := s.Forwarder.Run(send); err != nil && send.Err() == nil {
				s.Log.Error("the forwarder stopped, events stay in the buffer", "error", err)
			}
		})
	}
	keeper.Go(func() { s.Keeper.Run(hard) })
	judge.Go(s.Judge.Run)
	for _, source := range s.Sources {
		sources.Go(func() { source.supervise(ctx, s.Log) })
	}

	ended := make(chan struct{})
	go func() { sources.Wait(); close(ended) }()

	s.untilOver(ctx, ended)
	began := time.Now()
	deadline := time.AfterFunc(s.Grace, giveUp)
	defer deadline.Stop()
	s.leave(ended)
	s.Queue.Close()
	judge.Wait()
	s.Keeper.Close()
	keeper.Wait()
	s.part(hard, began)
	stopSending()
	forwarder.Wait()
}

// untilOver waits for the stop, or for the end of all there is to read.
func (s *Street) untilOver(ctx context.Context, ended <-chan struct{}) {
	if !s.Once {
		<-ctx.Done()
		return
	}
	select {
	case <-ctx.Done():
	case <-ended:
		// The last batches are judged and committed within their own times.
		for sleep(ctx, 100*time.Millisecond) {
			if s.Queue.Idle() && s.Keeper.Pending.Load() == 0 && s.Empty() {
				return
			}
		}
	}
}

// leave waits for the sources for half of the grace. One that does not return by
// then, stuck in a driver or in the kernel, is left behind: what it still puts is
// refused, and what the others have read is not lost with it.
func (s *Street) leave(ended <-chan struct{}) {
	patience := time.NewTimer(s.Grace / 2)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		for _, source := range s.Sources {
			if state := source.Status().State; state == "running" {
				s.Log.Error("source does not stop and is left behind, which is a defect of tocsin", "source", source.Name)
			}
		}
	}
}

// part gives the forwarder a moment for what the stop itself has committed.
func (s *Street) part(hard context.Context, began time.Time) {
	if s.Forwarder == nil {
		return
	}
	end := began.Add(min(parting, s.Grace/2))
	for time.Now().Before(end) && !s.Empty() && sleep(hard, 20*time.Millisecond) {
	}
}
