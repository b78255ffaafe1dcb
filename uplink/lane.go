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
func (l *lane) run(ctx context.Context, left []Batch) {
	for _, b := range left {
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

// serve delivers the batch, or gives up on it. After a batch whose fate stays
// unknown the lane takes another producer: under the same sequence the next
// would pass for it, and be lost.
func (l *lane) serve(ctx context.Context, b *flight) {
	if l.deliver(ctx, b) != unclear || b.Producer != l.producer || ctx.Err() != nil {
		return
	}
	if p, ok := l.f.fresh(ctx, l, &l.producer); ok {
		l.producer, l.sequence = p, 0
	}
}

// fate is what became of a batch.
type fate uint8

const (
	flying  fate = iota // it is to be sent again, or what is left of it
	settled             // it is off the lane, and the lane's sequence follows
	unclear             // it is off the lane, or ctx ended; the broker may have it
)

// deliver sends the batch until it is off the lane or ctx ends; it then stays
// in flight on disk.
func (l *lane) deliver(ctx context.Context, b *flight) fate {
	l.taken(b)
	for ctx.Err() == nil && l.renewExpired(ctx, b) {
		out := l.send(b.Batch)
		b.doubt = b.doubt || out.Unknown
		l.trouble(b.refused, out)
		if now := l.settle(ctx, b, out); now != flying {
			return now
		}
	}
	return unclear
}

// send sends once. The call outlives Run's context by the grace.
func (l *lane) send(b Batch) Outcome {
	ctx, cancel := context.WithTimeout(l.f.calls, l.f.o.Timeout)
	defer cancel()
	if restamp := l.f.o.Restamp; restamp != nil {
		b.Records = restamp(b.Records)
	}
	return l.f.sink.Send(ctx, b)
}

// settle does what the outcome asks for.
func (l *lane) settle(ctx context.Context, b *flight, out Outcome) fate {
	off := settled
	if b.doubt {
		off = unclear
	}
	switch {
	case out.Result == Acknowledged:
		if b.Producer == l.producer {
			l.sequence = after(b.Sequence, len(b.Records))
		}
		l.f.persist(ctx, "note an acknowledgement", func() error { return l.f.spool.Done(b.Batch) })
		l.delivered(len(b.Records))
		return settled
	case out.Result == TooLarge && len(b.Records) == 1:
		why := "Kafka takes no record so large: " + out.Error()
		if !l.f.persist(ctx, "bury a record", func() error { return l.f.spool.Bury(ctx, b.Batch, why) }) {
			return unclear
		}
		l.buried(why)
		return off
	case out.Result == TooLarge:
		b.refused = 0 // the halves are new to the broker, and few
		if !l.rewrite(ctx, b, (len(b.Records)+1)/2, b.Producer, b.Sequence, b.doubt) {
			return unclear
		}
		return flying
	case out.Result == NewProducer:
		if !l.renew(ctx, b) {
			return unclear
		}
	case l.missing(b, out):
		if !l.rewrite(ctx, b, 0, Producer{}, 0, b.doubt) {
			return unclear
		}
		l.delivered(0)
		l.trouble(0, Outcome{}) // it is over for this partition
		return off
	}
	if !l.f.pause(ctx, backoff(b.refused)) {
		return unclear
	}
	b.refused++
	return flying
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
	n := len(b.Records)
	ok := l.f.persist(ctx, "change a batch in flight", func() error {
		next, err := l.f.spool.Rewrite(ctx, b.Batch, keep, p, sequence, repeated)
		if err == nil && keep > 0 {
			b.Batch = next
		}
		return err
	})
	if ok && repeated {
		l.repeated(n)
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
