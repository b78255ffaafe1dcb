package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"tocsin/detectors"
	"tocsin/uplink"
)

// openAlarm is an alarm whose clear was not appended yet: only such can become
// graver.
type openAlarm struct {
	severity detectors.Severity // under which all its records are queued
	from     uint64             // a block before which none of them is; 0 not known
}

func (o openAlarm) encode() []byte {
	return binary.AppendUvarint([]byte{byte(o.severity)}, o.from)
}

func decodeOpen(raw []byte) (o openAlarm, err error) {
	r := reader{rest: raw}
	o.severity, o.from = detectors.Severity(r.byte()), r.uvarint()
	if r.bad || !valid(uplink.Raised, o.severity) {
		err = fmt.Errorf("%w: an open alarm", errDamaged)
	}
	return o, err
}

// follow brings the open alarms up to date with records that are about to be
// stored, and promotes what is queued of alarms that became graver. It returns
// the severity under which each alarm's records belong now.
func (t *txn) follow(records []uplink.Record) (map[uint64]detectors.Severity, error) {
	grade := make(map[uint64]detectors.Severity, len(records))
	for i := range records {
		r := &records[i]
		grade[r.Alarm] = max(grade[r.Alarm], r.Severity, t.open[r.Alarm].severity)
	}
	if err := t.promote(grade); err != nil {
		return nil, err
	}
	opened := make(map[uint64]bool)
	for i := range records {
		r := &records[i]
		switch known, ok := t.open[r.Alarm]; {
		case r.State == uplink.Cleared:
			delete(t.open, r.Alarm)
			if opened[r.Alarm] || !ok {
				continue // never was on disk
			}
			if err := t.tx.Bucket([]byte(bucketOpen)).Delete(number(r.Alarm)); err != nil {
				return nil, err
			}
		case r.State == uplink.Raised:
			opened[r.Alarm] = true
			t.open[r.Alarm] = openAlarm{grade[r.Alarm], 0}
		case ok && known.severity != grade[r.Alarm]:
			if err := t.setOpen(r.Alarm, openAlarm{grade[r.Alarm], known.from}); err != nil {
				return nil, err
			}
		}
	}
	return grade, nil
}

func (t *txn) setOpen(alarm uint64, o openAlarm) error {
	t.open[alarm] = o
	return t.put(t.tx, bucketOpen, number(alarm), o.encode())
}

// noteOpen keeps right where the records of open alarms are, for a new block.
func (t *txn) noteOpen(b *block) error {
	for i := range b.metas {
		alarm := b.metas[i].alarm
		o, ok := t.open[alarm]
		if !ok || o.from > 0 && o.from <= b.block {
			continue
		}
		if err := t.setOpen(alarm, openAlarm{o.severity, b.block}); err != nil {
			return err
		}
	}
	return nil
}

// promote moves the queued records of alarms that are to be graver than they
// are, so that they stay in order and none waits below a later one.
func (t *txn) promote(grade map[uint64]detectors.Severity) error {
	for _, low := range severities()[1:] {
		from, found := uint64(0), false
		for alarm, g := range grade {
			if o, ok := t.open[alarm]; ok && o.severity == low && g > low {
				if !found || o.from < from {
					from = o.from
				}
				found = true
			}
		}
		if !found {
			continue
		}
		if err := t.promoteFrom(low, from, grade); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) promoteFrom(low detectors.Severity, from uint64, grade map[uint64]detectors.Severity) error {
	var rising [detectors.Critical + 1][]uplink.Record
	was := map[uint64]place{}
	for blocks := t.stream(low, from, t.files...); ; {
		b, err := blocks.next()
		if err != nil {
			return err
		}
		if b == nil {
			break
		}
		for i := range b.metas {
			m := &b.metas[i]
			if g := grade[m.alarm]; g > low && t.open[m.alarm].severity == low && t.live(b, i) {
				if err := t.withBodies(b); err != nil {
					return err
				}
				rising[g] = append(rising[g], b.record(i))
				was[m.seq] = b.place
			}
		}
	}
	for g, records := range rising {
		if err := t.move(detectors.Severity(g), records, was); err != nil {
			return err
		}
		for i := range records {
			if err := t.remember(records[i].Seq, detectors.Severity(g)); err != nil {
				return err
			}
		}
	}
	return nil
}

// remember notes which of a record's copies is valid.
func (t *txn) remember(seq uint64, severity detectors.Severity) error {
	t.moved[seq] = severity
	return t.put(t.tx, bucketMoved, number(seq), []byte{byte(severity)})
}

// move gives queued records another place in the head. What is in flight stays
// as it is, but for the place.
func (t *txn) move(to detectors.Severity, records []uplink.Record, was map[uint64]place) error {
	if len(records) == 0 {
		return nil
	}
	slices.SortFunc(records, func(a, b uplink.Record) int { return cmp.Compare(a.Seq, b.Seq) })
	for i := range records {
		t.leavePlace(was[records[i].Seq])
	}
	blocks, err := t.addAll(to, records)
	if err != nil {
		return err
	}
	is := make(map[uint64]place, len(records))
	for _, b := range blocks {
		for i := range b.metas {
			is[b.metas[i].seq] = b.place
		}
	}
	for _, f := range t.flights {
		for i := range f.members {
			if p, moved := is[f.members[i].seq]; moved {
				f.members[i].place, f.dirty = p, true
			}
		}
	}
	return nil
}
