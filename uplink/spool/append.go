package spool

import (
	"context"
	"fmt"

	"tocsin/detectors"
	"tocsin/uplink"
)

// Append implements uplink.Spool. The records carry the store's Epoch and
// consecutive sequences from NextSeq on; anything else is refused. After an
// error the same call may be made again, even where the records are on disk
// after all: they are stored once. Where space is short it makes some first, as
// Options say.
func (s *Spool) Append(ctx context.Context, records []uplink.Record, state []uplink.Entry) error {
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.leave()
	what := fmt.Sprintf("store %d events", len(records))
	if err := s.refresh(); err != nil {
		return s.explain(what, err)
	}
	if n := len(records); n > 0 && s.tried == (span{records[0].Seq, records[n-1].Seq}) && s.next == records[n-1].Seq+1 {
		return nil // the transaction that failed had been written
	}
	if err := s.check(records); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	need := int64(roomForState)
	for i := range records {
		need += int64(len(records[i].Body)) + recordRoom
	}
	if err := s.makeRoom(need); err != nil {
		return s.explain(what, err)
	}
	s.tried = span{}
	if n := len(records); n > 0 {
		s.tried = span{records[0].Seq, records[n-1].Seq}
	}
	err := s.commit(what, func(t *txn) error {
		if err := t.store(records); err != nil {
			return err
		}
		return t.setState(state)
	})
	if err == nil {
		s.tried = span{}
	}
	return err
}

// Room is estimated before compression, in bytes.
const (
	roomForState = 16 << 10
	recordRoom   = 64
)

func (s *Spool) check(records []uplink.Record) error {
	for i := range records {
		r := &records[i]
		switch {
		case r.Epoch != s.epoch:
			return fmt.Errorf("event %d has epoch %x, the buffer's is %x: ask Epoch", i, r.Epoch, s.epoch)
		case r.Seq != s.next+uint64(i):
			return fmt.Errorf("event %d has sequence %d, not %d: ask NextSeq", i, r.Seq, s.next+uint64(i))
		case !valid(r.State, r.Severity):
			return fmt.Errorf("event %d has state %d and severity %d: no such", i, r.State, r.Severity)
		case r.Alarm == 0 || r.Alarm > r.Seq || r.State == uplink.Raised && r.Alarm != r.Seq:
			return fmt.Errorf("event %d, %s, belongs to alarm %d: an alarm is the sequence of the event that raised it", r.Seq, r.State, r.Alarm)
		case len(r.Body) > maxBodies:
			return fmt.Errorf("event %d has a body of %d bytes: at most %d, leave out evidence", r.Seq, len(r.Body), maxBodies)
		}
	}
	return nil
}

// store adds the records, each under the highest severity that its alarm has.
func (t *txn) store(records []uplink.Record) error {
	if len(records) == 0 {
		return nil
	}
	grade, err := t.follow(records)
	if err != nil {
		return err
	}
	var shelves [detectors.Critical + 1][]uplink.Record
	for i := range records {
		s := grade[records[i].Alarm]
		shelves[s] = append(shelves[s], records[i])
	}
	t.next += uint64(len(records))
	for severity, records := range shelves {
		if _, err := t.addAll(detectors.Severity(severity), records); err != nil {
			return err
		}
	}
	return nil
}

// addAll stores records of one severity in blocks of bounded size.
func (t *txn) addAll(severity detectors.Severity, records []uplink.Record) (blocks []*block, err error) {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && n < maxRecords && (n == 0 || size+len(records[n].Body) <= maxBodies) {
			size += len(records[n].Body)
			n++
		}
		b := newBlock(severity, records[:n])
		if err := t.add(b); err != nil {
			return nil, err
		}
		blocks, records = append(blocks, b), records[n:]
	}
	return blocks, nil
}

func (t *txn) setState(state []uplink.Entry) error {
	for _, e := range state {
		t.wrote = true
		var err error
		if e.Value == nil {
			err = t.tx.Bucket([]byte(bucketState)).Delete([]byte(e.Key))
		} else {
			err = t.put(t.tx, bucketState, []byte(e.Key), e.Value)
		}
		if err != nil {
			return fmt.Errorf("state %q: %w", e.Key, err)
		}
	}
	return nil
}
