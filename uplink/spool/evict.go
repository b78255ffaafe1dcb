package spool

import (
	"fmt"
	"math"
	"syscall"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

const (
	worthMoving = 0.75 // of a file live: above it, moving gains too little
	lookForAged = time.Minute
	tellEvery   = time.Minute
)

// makeRoom begins a new file where the head is full, and drops events until the
// ring stays within its bounds. bbolt files never shrink, so freeing space is
// two things: dropping events by rank and age wherever they lie, and emptying
// the file with the fewest left by moving those into the head.
func (s *Spool) makeRoom(need int64) error {
	if err := s.dropAged(); err != nil {
		return err
	}
	for {
		if s.full(need) {
			if err := s.roll(); err != nil {
				return err
			}
		}
		why, over := s.over(need)
		victim := s.emptiest()
		if !over || victim == nil {
			return nil
		}
		if victim.share() > worthMoving {
			// What is dropped now makes some file worth emptying soon.
			n, err := s.drop(why, max(victim.filed/4, 1), math.MaxInt64, false)
			if err == nil && n == 0 && why == Full && s.bytes()+need > s.o.MaxBytes {
				s.forced++
				n, err = s.drop(why, max(victim.filed/4, 1), math.MaxInt64, true)
			}
			if err != nil || n == 0 {
				return err
			}
			continue
		}
		if err := s.empty(victim); err != nil || why == Disk {
			return err // what others do with the disk must not cost every event at once
		}
	}
}

// over says whether something must go, and why.
func (s *Spool) over(need int64) (Reason, bool) {
	if s.bytes()+need > s.o.MaxBytes/10*9 {
		return Full, true
	}
	var disk syscall.Statfs_t
	if s.o.Reserve <= 0 || syscall.Statfs(s.dir, &disk) != nil {
		return Disk, false
	}
	size := int64(disk.Bsize) //nolint:unconvert // an int32 on 32-bit ARM
	return Disk, int64(disk.Bavail)*size < s.o.Reserve
}

// dropAged drops what became too old, from time to time.
func (s *Spool) dropAged() error {
	now, trusted := s.o.Clock()
	if s.o.MaxAge <= 0 || !trusted || now.Sub(s.aged).Abs() < lookForAged {
		return nil
	}
	s.aged = now
	_, err := s.drop(Aged, math.MaxInt64, now.Add(-s.o.MaxAge).UnixNano(), false)
	return err
}

// empty moves what is live in an older file into the head, in steps of bounded
// size, until nothing is left and the file goes.
func (s *Spool) empty(f *file) error {
	step := int(min(maxBodies, s.o.FileBytes/8))
	for f.live() > 0 {
		if s.full(int64(step)) {
			if err := s.roll(); err != nil {
				return err
			}
		}
		if err := s.commit("move events on", func(t *txn) error { return t.moveSome(f, step) }); err != nil {
			return err
		}
	}
	if s.fileNumbered(f.number) == nil {
		return nil
	}
	return s.commit("remove an empty file", (*txn).write)
}

// moveSome moves the first blocks of a file, about step bytes of the gravest. What lies before
// a shelf's first block is not valid any more.
func (t *txn) moveSome(f *file, step int) error {
	for _, severity := range severities() {
		on := &f.shelves[severity]
		if on.live == 0 {
			continue
		}
		var records []uplink.Record
		was := map[uint64]place{}
		blocks := t.stream(severity, 0, f)
		for size := 0; len(records) < maxRecords && size < step; {
			b, err := blocks.next()
			if err != nil {
				return err
			}
			if b == nil {
				break
			}
			for i := range b.metas {
				if t.live(b, i) {
					if err := t.withBodies(b); err != nil {
						return err
					}
					records, was[b.metas[i].seq] = append(records, b.record(i)), b.place
					size += int(b.metas[i].size)
				}
			}
		}
		next, err := blocks.peek()
		if err != nil {
			return err
		}
		if err := t.move(severity, records, was); err != nil {
			return err
		}
		clear(t.touched) // blocks of f, which are passed here
		f.dirt = true
		switch {
		case next != nil:
			on.first = next.at
		case on.live != 0:
			return fmt.Errorf("%w: %d %s events of file %d are not there", errDamaged, on.live, severity, f.number)
		default:
			*on = shelf{}
		}
		return nil
	}
	return nil
}

// drop drops at least want events, if there are, that happened before the
// given time: the least grave first, then the oldest, and alarms as a whole as
// dropper says. With anything set it spares only what is in flight.
func (s *Spool) drop(why Reason, want, before int64, anything bool) (int64, error) {
	d := dropper{why: why, want: want, before: before, anything: anything}
	err := s.commit("drop events", func(t *txn) error {
		d.t, d.flying = t, map[uint64]bool{}
		for _, f := range t.flights {
			for _, m := range f.members {
				d.flying[m.alarm] = true
			}
		}
		for severity := detectors.Low; severity <= detectors.Critical && d.dropped < want; severity++ {
			if err := d.from(severity); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.tell(why, d.dropped)
	return d.dropped, nil
}

// dropper chooses what goes. An alarm that is over goes whole, with its raise
// and its clear. Where the raise was delivered, the clear stays. An alarm that
// is still open keeps its raise. One that has an event in flight keeps all.
type dropper struct {
	t        *txn
	why      Reason
	want     int64
	before   int64 // nanoseconds since 1970
	anything bool
	flying   map[uint64]bool // alarms
	dropped  int64
}

type target struct {
	place
	seq uint64
}

func (d *dropper) from(severity detectors.Severity) error {
	whole := map[uint64][]target{} // alarms whose raise was met, and their clear not yet
	var chosen []target
	in := d.t.inOrder(severity, 0, d.t.seekLive)
	for d.dropped+int64(len(chosen)) < d.want {
		b, i, err := in.peek()
		if err != nil {
			return err
		}
		if b == nil || b.metas[i].time >= d.before {
			break // those that follow are younger
		}
		if d.why == Aged && b.metas[i].time < d.t.o.Oldest.UnixNano() {
			in.skip()
			continue
		}
		chosen = d.judge(chosen, whole, &b.metas[i], target{b.place, b.metas[i].seq})
		in.skip()
	}
	for _, c := range chosen {
		if err := d.t.retire(c.place, c.seq); err != nil {
			return err
		}
	}
	d.t.dropped[d.why][severity] += uint64(len(chosen))
	d.dropped += int64(len(chosen))
	return nil
}

// seekLive is the index, from i on, of the first live record.
func (t *txn) seekLive(b *block, i int) int {
	for i < len(b.metas) && !t.live(b, i) {
		i++
	}
	return i
}

// judge appends to chosen what can go now that one more event is known.
func (d *dropper) judge(chosen []target, whole map[uint64][]target, m *meta, it target) []target {
	_, open := d.t.open[m.alarm]
	_, raised := whole[m.alarm]
	switch {
	case d.anything:
		if _, flying := d.t.flying[m.seq]; flying {
			return chosen
		}
		return append(chosen, it)
	case d.flying[m.alarm]:
		return chosen
	case open && m.state == uplink.Raised:
		return chosen
	case open:
		return append(chosen, it)
	case m.state == uplink.Raised:
		whole[m.alarm] = []target{it}
		return chosen
	case raised && m.state == uplink.Cleared:
		gone := append(whole[m.alarm], it)
		delete(whole, m.alarm)
		return append(chosen, gone...)
	case raised:
		whole[m.alarm] = append(whole[m.alarm], it)
		return chosen
	case m.state == uplink.Cleared:
		return chosen
	}
	return append(chosen, it)
}

// tell logs losses, together and once in a while.
func (s *Spool) tell(why Reason, n int64) {
	s.untold += n
	if now := time.Now(); s.untold > 0 && now.Sub(s.told) >= tellEvery {
		s.o.Log.Warn("events were dropped", "events", s.untold, "reason", why.String(), "bytes", s.bytes(), "max_bytes", s.o.MaxBytes)
		s.told, s.untold = now, 0
	}
}
