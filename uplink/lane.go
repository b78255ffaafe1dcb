package uplink

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// lane serves one partition: one batch at a time, in order. Its fields belong
// to its goroutine, but for status.
type lane struct {
	f *Forwarder
	place
	producer Producer // whose sequence follows
	sequence int32    // of the next batch's first record
	known    bool     // producer is one
	status   laneStatus
}

// flight is a batch on its way and what is known of its fate.
type flight struct {
	Batch
	// doubt says that the broker may have stored the batch, or a part of it,
	// under the producer it has or a former one.
	doubt   bool
	earlier bool      // an earlier process put it in flight
	since   time.Time // by this process's monotonic clock: in flight, or taken over
	missing time.Time // since when its partition does not exist; zero: it does
	refused int       // sends in a row that did not move it
}

// run sends what was left in flight, then serves the partition until ctx ends.
func (l *lane) run(ctx context.Context, flying []Batch) {
	for _, b := range flying {
		l.serve(ctx, &flight{Batch: b, doubt: true, earlier: true, since: time.Now()})
	}
	if l.topic != l.f.o.Topic {
		l.f.forget(l) // the site's topic has another name now
		return
	}
	for ctx.Err() == nil {
		e := l.f.now()
		if l.partition >= e.partitions { // not known yet, or gone
			<-e.ctx.Done()
			continue
		}
		if !l.known {
			p, ok := l.f.fresh(ctx, l, nil)
			if !ok {
				return
			}
			l.producer, l.sequence, l.known = p, 0, true
		}
		if b, ok := l.next(e); ok {
			l.serve(ctx, &flight{Batch: b, since: time.Now()})
		}
	}
}

// next waits for records until the era ends.
func (l *lane) next(e era) (b Batch, ok bool) {
	ok = l.f.persist(e.ctx, "take the next batch", func() (err error) {
		b, err = l.f.spool.Next(e.ctx, Lane{
			Topic: l.topic, Partition: l.partition, Partitions: e.partitions,
			Producer: l.producer, Sequence: l.sequence,
		})
		return err
	})
	return b, ok && len(b.Records) > 0
}

// serve delivers the batch. After one that was lost on the way the lane takes
// another producer: the next batch under its sequence would pass for it.
func (l *lane) serve(ctx context.Context, b *flight) {
	if l.deliver(ctx, b) || !l.known {
		return
	}
	if p, ok := l.f.fresh(ctx, l, &l.producer); ok {
		l.producer, l.sequence = p, 0
	}
}

// deliver sends the batch until it is acknowledged, buried or given back. False
// says that ctx ended first: the batch stays in flight on disk; or that the
// Spool has lost it.
func (l *lane) deliver(ctx context.Context, b *flight) bool {
	l.taken(b)
	for ctx.Err() == nil {
		if !l.renewExpired(ctx, b) {
			return false
		}
		out := l.send(b.Batch)
		b.doubt = b.doubt || out.Unknown
		l.trouble(b.refused, out)
		done, ok := l.settle(ctx, b, out)
		if done || !ok {
			return ok
		}
	}
	return false
}

// send sends once. The call outlives Run's context by the grace.
func (l *lane) send(b Batch) Outcome {
	ctx, cancel := context.WithTimeout(l.f.calls, l.f.o.Timeout)
	defer cancel()
	return l.f.sink.Send(ctx, b)
}

// settle does what the outcome asks for. done says that the batch is no longer
// in flight; ok is false when ctx ended first.
func (l *lane) settle(ctx context.Context, b *flight, out Outcome) (done, ok bool) {
	switch out.Result {
	case Acknowledged:
		if b.Producer == l.producer {
			l.sequence = after(b.Sequence, len(b.Records))
		}
		ok = l.f.persist(ctx, "note an acknowledgement", func() error { return l.f.spool.Done(b.Batch) })
		l.delivered(len(b.Records))
		return true, ok
	case TooLarge:
		if len(b.Records) == 1 {
			why := "Kafka takes no record so large: " + out.Error()
			ok = l.f.persist(ctx, "bury a record", func() error { return l.f.spool.Bury(ctx, b.Batch, why) })
			l.buried(why)
			return true, ok
		}
		b.refused = 0 // the halves are new to the broker, and few
		return false, l.rewrite(ctx, b, (len(b.Records)+1)/2, b.Producer, b.Sequence, b.doubt)
	case NewProducer:
		ok = l.renew(ctx, b)
	default:
		gone, done := l.missing(b, out), false
		if gone {
			done = l.rewrite(ctx, b, 0, Producer{}, 0, b.doubt)
			l.delivered(0)
			l.trouble(0, Outcome{}) // it is over for this partition
			return done, done
		}
		ok = true
	}
	ok = ok && l.pause(ctx, backoff(b.refused))
	b.refused++
	return false, ok
}

// pause waits, or until another lane's trouble ends: what held that one may
// have held this one. False says that ctx ended first.
func (l *lane) pause(ctx context.Context, d time.Duration) bool {
	l.f.mu.Lock()
	better := l.f.better
	l.f.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-better:
	case <-ctx.Done():
		return false
	}
	return true
}

// missing keeps the time for which the batch's partition has not existed. True
// says that it will not come back: the topic was made anew with fewer
// partitions, or was left for another.
func (l *lane) missing(b *flight, out Outcome) bool {
	if !errors.Is(out.Err, ErrMissing) {
		b.missing = time.Time{}
		return false
	}
	l.f.poke()
	if b.missing.IsZero() {
		b.missing = time.Now()
	}
	if time.Since(b.missing) < goneAfter {
		return false
	}
	e := l.f.now()
	return l.topic != l.f.o.Topic || e.partitions > 0 && l.partition >= e.partitions
}

// renewExpired gives the batch a new producer when brokers may have forgotten
// the one it has, and has the Spool count it as possibly repeated where nobody
// can say how old it is.
func (l *lane) renewExpired(ctx context.Context, b *flight) bool {
	age, sure := l.f.age(b)
	switch {
	case sure && age > expiry:
		return l.renew(ctx, b)
	case !sure && b.earlier:
		b.earlier = false // counted once
		return l.rewrite(ctx, b, len(b.Records), b.Producer, b.Sequence, true)
	}
	return true
}

// age is for how long the batch has been in flight, and whether that is sure.
// In this process the monotonic clock tells; for an earlier one only the wall
// clock does, and it may have been wrong then or be wrong now.
func (f *Forwarder) age(b *flight) (time.Duration, bool) {
	here := time.Since(b.since)
	if !b.earlier {
		return here, true
	}
	now, trusted := f.o.Clock()
	wall := now.Round(0).Sub(b.Since)
	sure := trusted && wall >= 0 && b.Since.After(f.o.Oldest)
	if b.Boot != "" && b.Boot == f.o.Boot && f.o.Uptime != nil {
		if up := f.o.Uptime(); up < expiry || wall > up { // the clock was set in between, at most
			wall, sure = min(wall, up), up < expiry
		}
	}
	return max(wall, here), sure
}

// renew puts the batch under a fresh producer, which the disk knows before the
// broker sees it.
func (l *lane) renew(ctx context.Context, b *flight) bool {
	p, ok := l.f.fresh(ctx, l, &b.Producer)
	if !ok {
		return false
	}
	if !l.known || l.producer != p {
		l.producer, l.sequence, l.known = p, 0, true
	}
	if !l.rewrite(ctx, b, len(b.Records), p, l.sequence, b.doubt) {
		return false
	}
	b.earlier, b.since = false, time.Now()
	return true
}

// rewrite changes the batch on disk. A batch in doubt stays so: its records may
// be in the topic whatever becomes of them now.
func (l *lane) rewrite(ctx context.Context, b *flight, keep int, p Producer, sequence int32, repeated bool) bool {
	ok := l.f.persist(ctx, "change a batch in flight", func() error {
		next, err := l.f.spool.Rewrite(ctx, b.Batch, keep, p, sequence, repeated)
		if err == nil {
			b.Batch = next
		}
		return err
	})
	if ok && repeated {
		l.repeated(len(b.Records))
	}
	return ok
}

// after is the sequence that follows n records from sequence on. Sequences wrap
// from 2³¹−1 to 0 (Kafka, DefaultRecordBatch.incrementSequence).
func after(sequence int32, n int) int32 {
	return int32((int64(sequence) + int64(n)) & math.MaxInt32)
}

// backoff is how long to wait after attempt (from 0) failed: anywhere between
// nothing and a bound that doubles from 100 ms to a minute, so that a thousand
// gateways do not come back at once (full jitter; Brooker, "Exponential Backoff
// And Jitter", 2015).
func backoff(attempt int) time.Duration {
	bound := min(time.Minute, 100*time.Millisecond<<min(attempt, 10))
	return time.Millisecond + rand.N(bound)
}

// sleep waits; false says that ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
