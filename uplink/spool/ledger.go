package spool

import (
	"encoding/binary"
	"fmt"

	"tocsin/detectors"
)

// ledger is the numbers of the head. What was ever appended is next-1, and is
// always the sum of what is queued, acknowledged, dropped and buried: they change
// only together with the records they count.
type ledger struct {
	epoch        uint64
	next         uint64      // sequence of the next record
	ref          uint64      // of the newest batch
	queued       perSeverity // in flight or not
	acknowledged uint64
	dropped      [reasons]perSeverity
	buried       uint64
	repeated     uint64
	chunk        uint64 // the first of doneSet
}

type perSeverity [detectors.Critical + 1]uint64

// Reason says why records were dropped.
type Reason uint8

// The reasons.
const (
	Full    Reason = iota // of the bytes the buffer may use
	Disk                  // others left too little of the disk
	Aged                  // older than the site wants events to be
	Missing               // somebody removed the file they were in
	reasons
)

func (r Reason) String() string {
	return [reasons]string{"buffer full", "disk full", "too old", "file missing"}[r]
}

func (l *ledger) numbers() []*uint64 {
	all := []*uint64{&l.epoch, &l.next, &l.ref, &l.acknowledged, &l.buried, &l.repeated, &l.chunk}
	for s := detectors.Low; s <= detectors.Critical; s++ {
		all = append(all, &l.queued[s])
		for r := range l.dropped {
			all = append(all, &l.dropped[r][s])
		}
	}
	return all
}

func (l *ledger) encode() []byte {
	var raw []byte
	for _, n := range l.numbers() {
		raw = binary.AppendUvarint(raw, *n)
	}
	return raw
}

func (l *ledger) decode(raw []byte) error {
	r := reader{rest: raw}
	for _, n := range l.numbers() {
		*n = r.uvarint()
	}
	if r.bad || len(r.rest) > 0 || l.next == 0 {
		return fmt.Errorf("%w: the counters", errDamaged)
	}
	return nil
}
