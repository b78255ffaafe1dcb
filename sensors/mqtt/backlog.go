package mqtt

import (
	"context"
	"sync"

	"tocsin/sensors"
)

// Bounds on what waits for room in the queue, at QoS 1 and 2.
const (
	mostHeld        = 1 << 10 // messages
	mostHeldSamples = 1 << 15
)

// backlog holds, in order, the samples that the queue had no room for.
type backlog struct {
	over chan struct{} // one token: no more may be held

	mu      sync.Mutex
	held    []batch
	samples int
	last    uint64 // mark of what was offered last
	some    chan struct{}
	none    chan struct{} // closed when nothing is held any more; nil when nobody waits
}

type batch struct {
	mark    uint64
	samples []sensors.Sample
}

// reset forgets what an earlier connection left: it comes again.
func (b *backlog) reset() {
	b.mu.Lock()
	b.held, b.samples, b.none = nil, 0, nil
	b.over, b.some = make(chan struct{}, 1), make(chan struct{}, 1)
	b.mu.Unlock()
}

// start empties the backlog into the queue until stop is called.
func (b *backlog) start(ctx context.Context, out *sensors.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.empties(ctx, out)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (b *backlog) empties(ctx context.Context, out *sensors.Writer) {
	for {
		select {
		case <-b.some:
		case <-ctx.Done():
			return
		}
		for b.retry(out) {
			if out.Room(ctx) != nil {
				return
			}
		}
	}
}

// offer gives samples to the queue, behind those that wait already. It reports
// false when no more may be held after these.
func (b *backlog) offer(out *sensors.Writer, mark uint64, samples []sensors.Sample) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) == 0 {
		samples = b.put(out, mark, samples)
	}
	if len(samples) == 0 {
		return true
	}
	b.held = append(b.held, batch{mark, append([]sensors.Sample(nil), samples...)})
	b.samples += len(samples)
	signal(b.some)
	if len(b.held) < mostHeld && b.samples < mostHeldSamples {
		return true
	}
	signal(b.over)
	return false
}

// put returns what there was no room for. All parts of a message but its last
// carry the mark before, so that none of them is dropped as if it were of QoS 0.
func (b *backlog) put(out *sensors.Writer, mark uint64, samples []sensors.Sample) []sensors.Sample {
	for most := out.Most(); len(samples) > 0; {
		n, m := len(samples), mark
		if n > most {
			n, m = most, mark-1
		}
		if !out.Offer(m, samples[:n]...) {
			break
		}
		b.last = m
		samples = samples[n:]
	}
	return samples
}

// retry reports whether something is still held.
func (b *backlog) retry(out *sensors.Writer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.held) > 0 {
		first := &b.held[0]
		rest := b.put(out, first.mark, first.samples)
		b.samples -= len(first.samples) - len(rest)
		if first.samples = rest; len(rest) > 0 {
			return true
		}
		b.held = b.held[1:]
	}
	b.held = nil
	if b.none != nil {
		close(b.none)
		b.none = nil
	}
	return false
}

// empty is closed when nothing is held any more.
func (b *backlog) empty() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	none := make(chan struct{})
	if len(b.held) == 0 {
		close(none)
	} else {
		b.none = none
	}
	return none
}

// offered is the mark of what was offered last.
func (b *backlog) offered() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
