package spool

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// waiter is a call of Next.
type waiter struct {
	lane  uplink.Lane
	ready chan uplink.Batch // room for one
}

func (w *waiter) id() laneID { return laneID{w.lane.Topic, w.lane.Partition} }

// Next implements uplink.Spool. It refuses a lane whose batch is in flight and
// not acknowledged: InFlight tells of those that an earlier process left. A
// batch has at most 1,000 records and 512 KiB of bodies, all from one file of
// the ring. When ctx ends, a batch that is in flight already is still returned.
// A waiting lane costs no transaction of its own: any will do.
func (s *Spool) Next(ctx context.Context, lane uplink.Lane) (uplink.Batch, error) {
	if lane.Topic == "" || lane.Partition < 0 || lane.Partition >= lane.Partitions || lane.Sequence < 0 {
		return uplink.Batch{}, fmt.Errorf("next batch for %q: there is no partition %d of %d, sequence %d", lane.Topic, lane.Partition, lane.Partitions, lane.Sequence)
	}
	w := &waiter{lane, make(chan uplink.Batch, 1)}
	s.mu.Lock()
	if s.waiting[w.id()] != nil {
		s.mu.Unlock()
		return uplink.Batch{}, fmt.Errorf("next batch for %s: somebody waits for it already", w.id().key())
	}
	s.waiting[w.id()] = w
	s.mu.Unlock()

	b, err := s.await(ctx, w)
	if err == nil {
		return b, nil
	}
	<-s.gate // whoever has it may just be putting the batch in flight
	defer s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case b := <-w.ready:
		return b, nil
	default:
	}
	delete(s.waiting, w.id())
	return uplink.Batch{}, err
}

// await has the first transaction for w made, then waits for those of others.
func (s *Spool) await(ctx context.Context, w *waiter) (uplink.Batch, error) {
	if err := s.enter(ctx); err != nil {
		return uplink.Batch{}, err
	}
	b, done, err := s.first(w)
	s.leave()
	if done || err != nil {
		return b, err
	}
	select {
	case b := <-w.ready:
		return b, nil
	case <-ctx.Done():
		return uplink.Batch{}, ctx.Err()
	case <-s.ended:
		return uplink.Batch{}, ErrClosed
	}
}

func (s *Spool) first(w *waiter) (b uplink.Batch, done bool, err error) {
	select {
	case b := <-w.ready: // a transaction that was on its way took w with it
		return b, true, nil
	default:
	}
	const what = "put a batch in flight"
	if err := s.refresh(); err != nil {
		return b, false, s.explain(what, err)
	}
	f := s.flights[w.id()]
	switch {
	case f == nil || s.acked[w.id()] == f.ref:
		return b, false, s.commit(what, nil)
	case f.ref > s.lastRef: // its transaction failed, and yet is on disk
		s.lastRef = f.ref
		err := s.view(func(t *txn) (err error) {
			b, err = t.batch(f)
			return err
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, w.id())
		return b, true, err
	}
	return b, false, fmt.Errorf("next batch for %s: one of %d records is in flight and was not acknowledged", w.id().key(), len(f.members))
}

// chosen is the next batch of a lane.
type chosen struct {
	*flight
	records []uplink.Record
}

// chooseAll chooses a batch for every lane that waits and has records.
func (t *txn) chooseAll() (all []chosen, err error) {
	t.mu.Lock()
	waiting := slices.Collect(maps.Values(t.waiting))
	t.mu.Unlock()
	for _, w := range waiting {
		if f := t.flights[w.id()]; f != nil && t.acked[w.id()] != f.ref {
			continue
		}
		c, err := t.choose(w.lane)
		if err != nil {
			return nil, err
		}
		if len(c.records) > 0 {
			all = append(all, c)
		}
	}
	return all, nil
}

// launch puts batches in flight.
func (t *txn) launch(all []chosen) {
	for _, c := range all {
		id := laneID{c.Topic, c.Partition}
		t.wrote = true
		t.ref++
		c.since, c.boot, c.ref, c.dirty = time.Now().Round(0), t.boot, t.ref, true
		t.flights[id] = c.flight
		for _, m := range c.members {
			t.flying[m.seq] = struct{}{}
		}
		t.served[id] = c.batch(c.records)
	}
}

func (f *flight) batch(records []uplink.Record) uplink.Batch {
	return uplink.Batch{Lane: f.Lane, Records: records, Since: f.since, Boot: f.boot, Ref: f.ref}
}

// choose picks the lane's next batch: the gravest first, then in the order of
// sequences, as many as fit and lie in one file.
func (t *txn) choose(lane uplink.Lane) (chosen, error) {
	c := chooser{t: t, progress: t.lanes.of(lane), chosen: chosen{flight: &flight{Lane: lane}}}
	for _, severity := range severities() {
		if err := c.take(severity); err != nil {
			return chosen{}, err
		}
		if c.full {
			break
		}
	}
	return c.chosen, nil
}

type chooser struct {
	t        *txn
	progress *progress
	chosen
	bodies int // bytes
	full   bool
}

// take picks from one severity.
func (c *chooser) take(severity detectors.Severity) error {
	in := c.t.inOrder(severity, c.progress.from[severity], c.seek)
	for {
		b, i, err := in.peek()
		if err != nil {
			return err
		}
		if b == nil {
			c.progress.from[severity] = c.t.next // nothing is left before what comes next
			return nil
		}
		if err := c.pick(b, i); err != nil {
			return err
		}
		if c.full {
			c.progress.from[severity] = in.oldest()
			return nil
		}
		in.skip()
	}
}

// seek is the index, from i on, of the first record that the lane may take.
func (c *chooser) seek(b *block, i int) int {
	if i == 0 && c.t.dead(b) {
		c.t.touched[b.place] = struct{}{}
		return len(b.metas)
	}
	for ; i < len(b.metas); i++ {
		if b.partitionOf(i, c.Partitions) != c.Partition || !c.t.live(b, i) {
			continue
		}
		if _, flying := c.t.flying[b.metas[i].seq]; !flying {
			return i
		}
	}
	return i
}

// stretch is how many sequences a batch stays within, in one severity. Lanes go
// through a backlog at different speeds, as the keys fall; so none gets so far
// ahead that the blocks it has unpacked have left the cache before the others
// need them.
const stretch = 4096

// pick takes one record, or finds the batch full.
func (c *chooser) pick(b *block, i int) error {
	m, members := b.metas[i], c.members
	if n := len(members); n > 0 {
		last := members[n-1]
		c.full = n == maxRecords || c.bodies+int(m.size) > maxBodies || last.file != b.file ||
			last.severity == b.severity && last.seq/stretch != m.seq/stretch
	}
	if c.full {
		return nil
	}
	if err := c.t.withBodies(b); err != nil {
		return err
	}
	c.bodies += int(m.size)
	c.members = append(members, member{b.place, m.seq, m.alarm})
	c.records = append(c.records, b.record(i))
	return nil
}

// lanes remember, for each lane that asked, where its next search begins.
type lanes map[laneID]*progress

// progress is, by severity, a block before which the lane has nothing to take.
type progress struct {
	partitions int32
	from       [detectors.Critical + 1]uint64
}

func (l lanes) of(lane uplink.Lane) *progress {
	id := laneID{lane.Topic, lane.Partition}
	p := l[id]
	if p == nil || p.partitions != lane.Partitions {
		p = &progress{partitions: lane.Partitions}
		l[id] = p
	}
	return p
}

// lower notes that there may be something to take in a block.
func (l lanes) lower(severity detectors.Severity, block uint64) {
	for _, p := range l {
		p.from[severity] = min(p.from[severity], block)
	}
}
