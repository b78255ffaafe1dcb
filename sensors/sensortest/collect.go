package sensortest

import (
	"sync"
	"testing"
	"time"

	"tocsin/sensors"
)

// Collected is what a judging goroutine has taken out of a Queue so far. Safe
// for concurrent use.
type Collected struct {
	queue *sensors.Queue

	mu      sync.Mutex
	samples []sensors.Sample
	changed chan struct{} // closed and replaced whenever samples grows
	done    chan struct{} // closed once the queue is closed and empty
}

// Collect takes batches from q in a goroutine of its own, which stands in for
// the detectors: it keeps a copy of the samples, counts them as judged and
// releases the batch. It ends when q is closed and empty, at the latest with
// the test.
func Collect(t testing.TB, q *sensors.Queue) *Collected {
	t.Helper()
	c := &Collected{queue: q, changed: make(chan struct{}), done: make(chan struct{})}
	stop := make(chan time.Time)
	go c.judge(stop)
	t.Cleanup(func() {
		close(stop)
		<-c.done
	})
	return c
}

func (c *Collected) judge(stop <-chan time.Time) {
	defer close(c.done)
	for {
		b, err := c.queue.Take(stop)
		if err != nil || b == nil {
			return
		}
		c.mu.Lock()
		c.samples = append(c.samples, b.Samples...)
		close(c.changed)
		c.changed = make(chan struct{})
		c.mu.Unlock()
		b.From().Counters.Judged.Add(uint64(len(b.Samples)))
		b.Release()
	}
}

// Samples is a copy of what was taken so far, in order. Their channels are the
// street's numbers: Queue.Channel names them.
func (c *Collected) Samples() []sensors.Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]sensors.Sample(nil), c.samples...)
}

// Values is what one channel has said so far, in order.
func (c *Collected) Values(channel string) (values []float64) {
	for _, s := range c.Samples() {
		if c.queue.Channel(s.Channel).Name == channel {
			values = append(values, s.Value)
		}
	}
	return values
}

// Wait blocks until there are at least n samples and returns them all. It fails
// the test when that takes longer than within.
func (c *Collected) Wait(t testing.TB, n int, within time.Duration) []sensors.Sample {
	t.Helper()
	if !c.Until(within, func() bool { return len(c.Samples()) >= n }) {
		t.Fatalf("after %v: %d samples have arrived, want %d", within, len(c.Samples()), n)
	}
	return c.Samples()
}

// Until blocks until ok says true, asking it again whenever samples arrive, and
// reports whether it did so in time.
func (c *Collected) Until(within time.Duration, ok func() bool) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		c.mu.Lock()
		changed := c.changed
		c.mu.Unlock()
		if ok() {
			return true
		}
		select {
		case <-changed:
		case <-late.C:
			return ok()
		}
	}
}

// Drain waits until the queue, which the test has closed, is empty.
func (c *Collected) Drain(t testing.TB) []sensors.Sample {
	t.Helper()
	select {
	case <-c.done:
	case <-time.After(soon):
		t.Fatalf("the closed queue was not empty after %v", soon)
	}
	return c.Samples()
}
