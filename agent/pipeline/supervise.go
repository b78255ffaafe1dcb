package pipeline

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"tocsin/sensors"
)

// Back-off between two runs of a source: full jitter (Exponential Backoff And
// Jitter, AWS Architecture Blog 2015), so that a hall of gateways does not come
// back to its broker as one.
const (
	firstWait = time.Second
	longest   = time.Minute
	// A source that ran this long was well: its next wait starts from the first.
	wellAfter = time.Minute
)

// Source is a source under supervision: run again whenever it stops.
type Source struct {
	Name string
	sensors.Source
	Writer *sensors.Writer
	// Finds says that it may find channels while it runs, which it does not list.
	Finds bool
	// Over says that it came to its end before: it is not run again.
	Over bool

	task *task         // nil before start
	wake chan struct{} // ends a wait; made with the task

	mu     sync.Mutex
	status SourceStatus
}

// SourceStatus is how a source fares, for people.
type SourceStatus struct {
	State string    `json:"state"` // starting, running, waiting, ended, stopped
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"` // why it is waiting
	Runs  int       `json:"runs"`
}

// Status is how the source fares now.
func (s *Source) Status() SourceStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *Source) become(state string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.State, s.status.Since, s.status.Error = state, time.Now(), ""
	if err != nil {
		s.status.Error = err.Error()
	}
	if state == "running" {
		s.status.Runs++
	}
}

func (s *Source) start(ctx context.Context, log *slog.Logger) {
	s.wake = make(chan struct{}, 1)
	s.task = begin(ctx, func(ctx context.Context) { s.supervise(ctx, log) })
}

// stop ends the source and waits until it has returned or patience ends.
func (s *Source) stop(patience context.Context, log *slog.Logger) {
	s.task.end()
	select {
	case <-s.task.done:
		return
	default:
	}
	select {
	case <-s.task.done:
	case <-patience.Done():
		log.Error("source does not stop and is left behind, which is a defect of tocsin", "source", s.Name)
	}
}

// hurry lets the source be run again at once if it waits for that.
func (s *Source) hurry() {
	if s.Status().State != "waiting" {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// supervise runs the source until ctx ends or it has nothing more to give.
func (s *Source) supervise(ctx context.Context, log *slog.Logger) {
	defer s.Writer.Flush()
	if s.Over {
		s.become("ended", nil)
		s.Writer.End()
		return
	}
	wait := firstWait
	down := outage{source: s.Name}
	for ctx.Err() == nil {
		s.become("running", nil)
		began := time.Now()
		err := down.watch(log, func() error { return s.runOnce(ctx) })
		if ctx.Err() != nil {
			break
		}
		if err == nil {
			s.become("ended", nil)
			s.Writer.End()
			log.Info("source read to its end", "source", s.Name)
			return
		}
		if time.Since(began) >= wellAfter {
			wait = firstWait
		}
		pause := time.Duration(rand.Int64N(int64(wait))) + wait/10
		s.become("waiting", err)
		down.tell(log, err)
		wait = min(2*wait, longest)
		if s.pause(ctx, pause) {
			wait = firstWait
		}
	}
	s.become("stopped", nil)
}

// pause waits, and reports whether somebody was in a hurry.
func (s *Source) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-s.wake:
		return true
	}
	return false
}

// runOnce turns a panic of the source's own goroutine into an error: one bad
// device never stops the agent.
func (s *Source) runOnce(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("source %s panicked, which is a defect of tocsin: %v\n%s", s.Name, p, debug.Stack())
		}
	}()
	return s.Run(ctx, s.Writer)
}
