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
	"slices"
	"sync"
	"time"

	"tocsin/sensors"
	"tocsin/uplink"
)

// Street is everything between the sensors and Kafka. Build it whole, then Run
// it once. While it runs, Change, Forward and Start alter it, one call at a
// time, and All and Forwarding show it.
type Street struct {
	Queue     *sensors.Queue
	Sources   []*Source // with their Writers; guarded by mu once the street runs
	Judge     *Judge
	Keeper    *Keeper
	Forwarder *uplink.Forwarder // nil: events stay in the spool; guarded by mu once the street runs
	// Beside run with the forwarder and end with it: what tells of the street
	// without being a stage of it. Each returns soon after its context ended.
	Beside []func(ctx context.Context)
	Log    *slog.Logger
	Empty  func() bool // whether the spool holds nothing that waits
	// Once makes Run return by itself when every source has come to its end and
	// what they made is delivered.
	Once bool
	// Grace is how long a stop may take in all; what is not done by then is cut
	// off. Everything on disk is safe all the same.
	Grace time.Duration

	mu      sync.Mutex
	reading context.Context // of the sources; nil before Run, and from its stop on
	sending context.Context // of the forwarder and what runs beside; nil before Run, and after
	forward *task
	beside  sync.WaitGroup
	before  delivery // of forwarders that were replaced
	feed    *Feed    // that took the place of the Judge's
	fed     bool     // one did, or none
}

// delivery is what forwarders have done.
type delivery struct{ delivered, buried, repeated uint64 }

// task is a goroutine that can be ended alone.
type task struct {
	end  context.CancelFunc
	done chan struct{}
}

func begin(ctx context.Context, run func(context.Context)) *task {
	ctx, end := context.WithCancel(ctx)
	t := &task{end, make(chan struct{})}
	go func() {
		defer close(t.done)
		defer end()
		run(ctx)
	}()
	return t
}

// stop ends the task and waits for it. A nil task has ended.
func (t *task) stop() {
	if t != nil {
		t.end()
		<-t.done
	}
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
	send, stopSending := context.WithCancel(hard)
	defer stopSending()
	var keeper, judge sync.WaitGroup

	s.startSending(send)
	keeper.Go(func() { s.Keeper.Run(hard) })
	judge.Go(s.Judge.Run)
	s.startReading(ctx)

	s.untilOver(ctx)
	began := time.Now()
	deadline := time.AfterFunc(s.Grace, giveUp)
	defer deadline.Stop()
	s.leave(hard)
	s.Queue.Close()
	judge.Wait()
	s.Keeper.Close()
	keeper.Wait()
	s.part(hard, began)
	stopSending()
	s.stopSending()
}

func (s *Street) startSending(ctx context.Context) {
	s.mu.Lock()
	s.sending = ctx
	s.mu.Unlock()
	s.Forward(s.Forwarder)
	for _, run := range s.Beside {
		s.Start(run)
	}
}

func (s *Street) stopSending() {
	s.mu.Lock()
	s.sending = nil
	forward := s.forward
	s.mu.Unlock()
	forward.stop()
	s.beside.Wait()
}

func (s *Street) startReading(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = ctx
	for _, source := range s.Sources {
		source.start(ctx, s.Log)
	}
}

// All is the sources as they are now.
func (s *Street) All() []*Source {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.Sources)
}

// untilOver waits for the stop, or for the end of all there is to read.
func (s *Street) untilOver(ctx context.Context) {
	if !s.Once {
		<-ctx.Done()
		return
	}
	// The last batches are judged and committed within their own times.
	for sleep(ctx, 100*time.Millisecond) {
		if s.ended() && s.Queue.Idle() && s.Keeper.Pending.Load() == 0 && s.Empty() {
			return
		}
	}
}

func (s *Street) ended() bool {
	return !slices.ContainsFunc(s.All(), func(source *Source) bool { return source.Status().State != "ended" })
}

// leave waits for the sources for half of the grace; none is started from here
// on. One that does not return by then, stuck in a driver or in the kernel, is
// left behind: what it still puts is refused, and what the others have read is
// not lost with it.
func (s *Street) leave(hard context.Context) {
	s.mu.Lock()
	s.reading = nil
	s.mu.Unlock()
	patience, enough := context.WithTimeout(hard, s.Grace/2)
	defer enough()
	for _, source := range s.All() {
		source.stop(patience, s.Log)
	}
}

// part gives the forwarder a moment for what the stop itself has committed.
func (s *Street) part(hard context.Context, began time.Time) {
	s.mu.Lock()
	forward := s.forward
	s.mu.Unlock()
	if forward == nil {
		return
	}
	end := began.Add(min(parting, s.Grace/2))
	for time.Now().Before(end) && !s.Empty() && sleep(hard, 20*time.Millisecond) {
	}
}
