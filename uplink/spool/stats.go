package spool

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tocsin/detectors"
)

// Stats is what the buffer holds and what became of what it held. The counts are
// exact, since the store was made and over crashes: Appended is the sum of
// Queued, Acknowledged, Dropped and Buried.
type Stats struct {
	Appended     uint64
	Queued       [detectors.Critical + 1]uint64 // by severity; in flight or not
	Acknowledged uint64
	Dropped      map[Reason][detectors.Critical + 1]uint64 // reasons that occurred
	Buried       uint64
	Repeated     uint64 // possibly: sent again under another producer
	InFlight     []Flight
	OpenAlarms   int
	Oldest       time.Time // when the oldest queued event happened; zero if none is
	Bytes        int64     // of disk space
	Files        int
}

// Flight is a batch in flight.
type Flight struct {
	Topic     string
	Partition int32
	Records   int
	Since     time.Time
}

// Stats takes the numbers together. After the disk failed they are the last that
// could be read.
func (s *Spool) Stats() Stats {
	<-s.gate
	defer s.leave()
	if s.stale && !s.closed {
		_ = s.refresh()
	}
	st := Stats{
		Appended: max(s.next, 1) - 1, Queued: s.queued, Acknowledged: s.acknowledged, Buried: s.buried, Repeated: s.repeated,
		Dropped: map[Reason][detectors.Critical + 1]uint64{}, OpenAlarms: len(s.open), Bytes: s.bytes(), Files: len(s.files),
	}
	for why, n := range s.dropped {
		if n != (perSeverity{}) {
			st.Dropped[Reason(why)] = n
		}
	}
	for _, f := range slices.Collect(maps.Values(s.flights)) {
		st.InFlight = append(st.InFlight, Flight{f.Topic, f.Partition, len(f.members), f.since})
	}
	slices.SortFunc(st.InFlight, func(a, b Flight) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	if len(s.files) > 0 && !s.stale {
		_ = s.view(func(t *txn) error { return t.oldest(&st.Oldest) })
	}
	return st
}

// oldest looks at the first block of each severity that has something live.
func (t *txn) oldest(at *time.Time) error {
	for _, severity := range severities() {
		for blocks := t.stream(severity, 0, t.files...); ; {
			b, err := blocks.next()
			if err != nil {
				return err
			}
			if b == nil {
				break
			}
			i := slices.IndexFunc(b.metas, func(m meta) bool { return !t.done.has(m.seq) })
			if i < 0 || t.dead(b) {
				continue
			}
			if when := time.Unix(0, b.metas[i].time); at.IsZero() || when.Before(*at) {
				*at = when
			}
			break
		}
	}
	return nil
}

// Lost is how many events were dropped, for whatever reason.
func (s Stats) Lost() (n uint64) {
	for _, by := range s.Dropped {
		for _, c := range by {
			n += c
		}
	}
	return n
}

// Waiting is how many events are queued, in flight or not.
func (s Stats) Waiting() (n uint64) {
	for _, c := range s.Queued {
		n += c
	}
	return n
}
