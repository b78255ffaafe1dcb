package spool

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"tocsin/uplink"
)

// InFlight implements uplink.Spool: the batches whose sending an earlier
// process began, each with exactly its members in their order. Those of this
// process are among them until they are acknowledged.
func (s *Spool) InFlight(ctx context.Context) ([]uplink.Batch, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.refresh(); err != nil {
		return nil, err
	}
	var batches []uplink.Batch
	err := s.view(func(t *txn) error {
		for id, f := range s.flights {
			if s.acked[id] == f.ref {
				continue
			}
			b, err := t.batch(f)
			if err != nil {
				return err
			}
			batches = append(batches, b)
		}
		return nil
	})
	slices.SortFunc(batches, func(a, b uplink.Batch) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return batches, err
}

// batch reads the records of a flight.
func (t *txn) batch(f *flight) (uplink.Batch, error) {
	records := make([]uplink.Record, 0, len(f.members))
	for _, m := range f.members {
		b, err := t.block(m.place)
		if err == nil {
			err = t.withBodies(b)
		}
		if err != nil {
			return uplink.Batch{}, err
		}
		i, ok := slices.BinarySearchFunc(b.metas, m.seq, func(have meta, seq uint64) int { return cmp.Compare(have.seq, seq) })
		if !ok {
			return uplink.Batch{}, fmt.Errorf("%w: %s block %d has no record %d", errDamaged, m.severity, m.block, m.seq)
		}
		records = append(records, b.record(i))
	}
	return f.batch(records), nil
}

// pause is how long an acknowledged batch may wait for a transaction to be
// deleted with.
const pause = time.Second

// Done implements uplink.Spool. The batch is deleted with the next transaction
// of any kind, a second from now at the latest; if the process ends before, it
// is in flight again and the broker knows it.
func (s *Spool) Done(b uplink.Batch) error {
	if err := s.enter(context.Background()); err != nil {
		return err
	}
	defer s.leave()
	id := laneID{b.Topic, b.Partition}
	if !s.stale { // else the next transaction finds out
		f := s.flights[id]
		if f == nil && s.settled[id] == b.Ref {
			return nil
		}
		if f == nil || f.ref != b.Ref || len(f.members) != len(b.Records) {
			return fmt.Errorf("acknowledge %d records to %s: %w", len(b.Records), id.key(), uplink.ErrNotInFlight)
		}
	}
	s.acked[id] = b.Ref
	if s.timer == nil {
		s.timer = time.AfterFunc(pause, s.idle)
	}
	return nil
}

// idle deletes what was acknowledged when nothing else did.
func (s *Spool) idle() {
	if s.enter(context.Background()) != nil {
		return
	}
	defer s.leave()
	s.timer = nil
	if len(s.acked) == 0 {
		return
	}
	if err := s.commit("delete what was acknowledged", (*txn).write); err != nil {
		s.o.Log.Warn("the buffer cannot be written", "err", err)
		s.timer = time.AfterFunc(10*pause, s.idle)
	}
}

// write has a transaction made for what waits for one.
func (t *txn) write() error {
	t.wrote = true
	return nil
}

// settle deletes the batches that were acknowledged.
func (t *txn) settle() error {
	for id, ref := range t.acked {
		f := t.flights[id]
		if f == nil || f.ref != ref {
			continue
		}
		for _, m := range f.members {
			if err := t.retire(m.place, m.seq); err != nil {
				return err
			}
		}
		t.acknowledged += uint64(len(f.members))
		if err := t.land(id, f); err != nil {
			return err
		}
	}
	return nil
}

// land ends a flight; its members are done or queued.
func (t *txn) land(id laneID, f *flight) error {
	t.wrote = true
	for _, m := range f.members {
		delete(t.flying, m.seq)
	}
	delete(t.flights, id)
	t.settled[id] = f.ref
	return t.tx.Bucket([]byte(bucketFlight)).Delete([]byte(id.key()))
}

// requeue makes members available again.
func (t *txn) requeue(members []member) {
	for _, m := range members {
		delete(t.flying, m.seq)
		t.lanes.lower(m.severity, m.block)
	}
}

// during finds the flight of a batch and commits a change of it. nil stands for
// one that a failed transaction ended after all.
func (s *Spool) during(ctx context.Context, what string, b uplink.Batch, change func(*txn, laneID, *flight) error) error {
	id := laneID{b.Topic, b.Partition}
	what = fmt.Sprintf("%s of %d records to %s", what, len(b.Records), id.key())
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	if err := s.refresh(); err != nil {
		return s.explain(what, err)
	}
	f := s.flights[id]
	if f == nil && s.settled[id] == b.Ref {
		return nil
	}
	if f == nil || f.ref != b.Ref || s.acked[id] == b.Ref {
		return fmt.Errorf("%s: %w", what, uplink.ErrNotInFlight)
	}
	return s.commit(what, func(t *txn) error { return change(t, id, f) })
}

// Rewrite implements uplink.Spool. The Batch it returns has the same Ref.
func (s *Spool) Rewrite(ctx context.Context, b uplink.Batch, keep int, p uplink.Producer, sequence int32, repeated bool) (uplink.Batch, error) {
	if keep < 0 || keep > len(b.Records) {
		return b, fmt.Errorf("keep %d of %d records in flight: out of bounds", keep, len(b.Records))
	}
	next := b
	next.Records = b.Records[:keep:keep]
	err := s.during(ctx, "rewrite a batch", b, func(t *txn, id laneID, f *flight) error {
		t.wrote = true
		if repeated {
			t.repeated += uint64(len(f.members))
		}
		keep := min(keep, len(f.members))
		t.requeue(f.members[keep:])
		if keep == 0 {
			return t.land(id, f)
		}
		f.members = f.members[:keep]
		if p != f.Producer {
			f.since, f.boot = time.Now().Round(0), t.boot
		}
		f.Producer, f.Sequence, f.dirty = p, sequence, true
		next = f.batch(next.Records)
		return nil
	})
	if err != nil {
		return b, err
	}
	return next, nil
}

// Bounds of the dead-letter bucket; the oldest go first.
const (
	maxDead      = 1000
	maxDeadBytes = 1 << 20
)

// Bury implements uplink.Spool.
func (s *Spool) Bury(ctx context.Context, b uplink.Batch, why string) error {
	if len(b.Records) != 1 {
		return fmt.Errorf("bury a batch of %d records: only a single one can be", len(b.Records))
	}
	return s.during(ctx, "bury a batch", b, func(t *txn, id laneID, f *flight) error {
		m := f.members[0]
		grave := newBlock(m.severity, b.Records)
		raw := binary.AppendUvarint(nil, uint64(len(why)))
		raw = append(raw, why...)
		raw = binary.AppendUvarint(raw, uint64(len(grave.bodies)))
		raw = append(raw, grave.bodies...)
		if err := t.put(t.tx, bucketDead, number(m.seq), grave.appendMetas(raw)); err != nil {
			return err
		}
		t.buried++
		if err := t.retire(m.place, m.seq); err != nil {
			return err
		}
		if err := t.land(id, f); err != nil {
			return err
		}
		return t.bound()
	})
}

// bound removes the oldest dead letters while there are too many.
func (t *txn) bound() error {
	dead := t.tx.Bucket([]byte(bucketDead))
	count, size := 0, 0
	var over [][]byte
	c := dead.Cursor()
	for key, sealed := c.Last(); key != nil; key, sealed = c.Prev() {
		count, size = count+1, size+len(sealed)
		if count > 1 && (count > maxDead || size > maxDeadBytes) {
			over = append(over, slices.Clone(key))
		}
	}
	for _, key := range over {
		if err := dead.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// exhume is what Bury wrote.
func exhume(seq uint64, raw []byte) (why string, r uplink.Record, err error) {
	in := reader{rest: raw}
	why = string(in.bytes(in.uvarint()))
	bodies := in.bytes(in.uvarint())
	b := &block{place: place{block: seq}, bodies: bodies}
	if in.bad {
		return "", r, fmt.Errorf("%w: dead letter %d", errDamaged, seq)
	}
	if err := b.decode(in.rest); err != nil {
		return "", r, err
	}
	if b.total() != len(bodies) {
		return "", r, fmt.Errorf("%w: dead letter %d", errDamaged, seq)
	}
	return why, b.record(0), nil
}
