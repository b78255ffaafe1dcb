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

// supervise runs the source until ctx ends or it has nothing more to give.
func (s *Source) supervise(ctx context.Context, log *slog.Logger) {
	defer s.Writer.Flush()
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
		sleep(ctx, pause)
		wait = min(2*wait, longest)
	}
	s.become("stopped", nil)
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
