package sensortest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"tocsin/sensors"
)

// soon is how long a source may take to stop once its context has ended.
const soon = 2 * time.Second

// Running is a source at work on a queue of its own, and what has come of it.
type Running struct {
	*Collected
	Queue  *sensors.Queue
	Writer *sensors.Writer

	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	errs []error // what Run returned while it was not asked to stop
}

// Start runs the source on a queue that is judged by Collect, and runs it again
// 10 ms after it has ended with an error, as the pipeline does. It is stopped at
// the latest with the test.
func Start(t testing.TB, s sensors.Source) *Running {
	t.Helper()
	r := start(t, s, 64, 64)
	r.Collected = Collect(t, r.Queue)
	return r
}

// start runs the source on a queue that nobody judges yet.
func start(t testing.TB, s sensors.Source, batches, samples int) *Running {
	t.Helper()
	q := sensors.NewQueue(batches, samples, 10_000)
	w, err := q.Writer("source", s.Channels())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &Running{Queue: q, Writer: w, cancel: cancel, done: make(chan struct{})}
	go r.supervise(ctx, s)
	t.Cleanup(func() { r.Stop(t) })
	return r
}

func (r *Running) supervise(ctx context.Context, s sensors.Source) {
	defer close(r.done)
	for ctx.Err() == nil {
		err := s.Run(ctx, r.Writer)
		if err == nil {
			return
		}
		if ctx.Err() == nil {
			r.mu.Lock()
			r.errs = append(r.errs, err)
			r.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop ends the source's context and fails the test when Run does not return
// soon. The queue is closed then, as it is in the pipeline.
func (r *Running) Stop(t testing.TB) {
	t.Helper()
	r.cancel()
	r.End(t, soon)
}

// End waits until Run has returned by itself without an error: a file was read
// to its end.
func (r *Running) End(t testing.TB, within time.Duration) {
	t.Helper()
	select {
	case <-r.done:
		r.Queue.Close()
	case <-time.After(within):
		t.Fatalf("Run had not returned after %v", within)
	}
}

// Err joins the errors that Run has returned so far without being asked to stop.
func (r *Running) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.errs...)
}

func (r *Running) errors() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.errs...)
}

// ended reports whether Run has returned for good.
func (r *Running) ended() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// Ledger fails the test unless every reading that was read was either judged or
// refused. Call it after Stop and Drain.
func (r *Running) Ledger(t testing.TB) {
	t.Helper()
	c := &r.Writer.Counters
	if read, judged, refused := c.Read.Load(), c.Judged.Load(), c.RefusedAll(); read != judged+refused {
		t.Errorf("ledger: %d read, but %d judged + %d refused", read, judged, refused)
	}
}
