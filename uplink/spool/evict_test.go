package spool

import (
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// An alarm of which a part is in flight is not touched, however old or many.
func TestDroppingSparesAlarmsInFlight(t *testing.T) {
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	s := small(t, t.TempDir(), func(o *Options) {
		o.MaxAge, o.Clock = time.Hour, func() (time.Time, bool) { return now, true }
	})
	first := raise(s, 1, detectors.Low)
	appendAll(t, s, first)
	sent := next(t, s)
	other := raise(s, 3, detectors.Low)
	appendAll(t, s, follow(first, 2, uplink.Cleared, detectors.Low), other, follow(other, 4, uplink.Cleared, detectors.Low))
	now = now.Add(10 * time.Hour)
	last := raise(s, 5, detectors.Low)
	last.Time = now.UnixNano()
	appendAll(t, s, last)
	if st := s.Stats(); st.Lost() != 2 {
		t.Errorf("%d events dropped, want 2", st.Lost())
	}
	if err := s.Done(sent); err != nil {
		t.Fatal(err)
	}
	wantSeqs(t, next(t, s), 2, 5)
}

// emptied appends records to a file, begins the next, and moves what is left of
// the first into it.
func emptied(t *testing.T, s *Spool) {
	t.Helper()
	<-s.gate
	defer s.leave()
	old := s.head()
	if err := s.roll(); err != nil {
		t.Fatal(err)
	}
	if err := s.empty(old); err != nil {
		t.Fatal(err)
	}
	if len(s.files) != 1 {
		t.Fatalf("%d files", len(s.files))
	}
}

// Records that were moved into a block with others still rise with their alarm.
func TestMovedRecordsRise(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	second := raise(s, 2, detectors.Low)
	appendAll(t, s, raise(s, 1, detectors.Low))
	appendAll(t, s, second)
	emptied(t, s)
	_ = s.Close()
	s = small(t, dir)
	appendAll(t, s, follow(second, 3, uplink.Updated, detectors.Critical))
	emptied(t, s)
	wantSeqs(t, next(t, s), 2, 3, 1)
}

// A batch in flight survives the move of its records, and a restart.
func TestMovedRecordsStayInFlight(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	appendAll(t, s, raise(s, 1, detectors.Low), raise(s, 2, detectors.High))
	next(t, s)
	appendAll(t, s, raise(s, 3, detectors.High))
	emptied(t, s)
	_ = s.Close()
	s = small(t, dir)
	left, err := s.InFlight(t.Context())
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	wantSeqs(t, left[0], 2, 1)
	if err := s.Done(left[0]); err != nil {
		t.Fatal(err)
	}
	wantSeqs(t, next(t, s), 3)
}

// Lows go before highs, and the bytes stay within their bound although nothing
// is ever delivered.
func TestBoundDropsTheLeastGraveFirst(t *testing.T) {
	s := small(t, fast(t), func(o *Options) { o.FileBytes, o.MaxBytes = 128<<10, 1<<20 })
	rnd := rand.New(rand.NewPCG(1, 6))
	for range 200 {
		records := events(s, rnd, 40)
		for i := range records {
			if records[i].Severity = detectors.High; records[i].Alarm%40 != 1 {
				records[i].Severity = detectors.Low
			}
			for range 300 {
				records[i].Body = append(records[i].Body, byte(rnd.Uint32()))
			}
		}
		appendAll(t, s, records...)
		if b := s.Stats().Bytes; b > 1<<20 {
			t.Fatalf("%d bytes", b)
		}
	}
	st := s.Stats()
	dropped := st.Dropped[Full]
	if st.Lost() == 0 || st.Appended != st.Lost()+st.Waiting() {
		t.Errorf("%+v", st)
	}
	if dropped[detectors.High] > 0 {
		t.Errorf("dropped %v, though all of what is high has room; queued %v", dropped, st.Queued)
	}
}

// Bounds that are drawn closer hold from the next events on.
func TestBoundMayChange(t *testing.T) {
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	s := small(t, fast(t), func(o *Options) {
		o.FileBytes, o.MaxBytes, o.Clock = 128<<10, 4<<20, func() (time.Time, bool) { return now, true }
	})
	rnd := rand.New(rand.NewPCG(1, 8))
	stored := func() {
		records := events(s, rnd, 40)
		for i := range records {
			records[i].Time = now.UnixNano()
			for range 300 {
				records[i].Body = append(records[i].Body, byte(rnd.Uint32()))
			}
		}
		appendAll(t, s, records...)
	}
	for s.Stats().Bytes < 2<<20 {
		stored()
	}
	if n := s.Stats().Lost(); n > 0 {
		t.Fatalf("%d dropped within the bound", n)
	}
	s.Bound(1<<20, 0)
	stored()
	if st := s.Stats(); st.Bytes > 1<<20 || st.Lost() == 0 {
		t.Errorf("%d bytes, %d dropped", st.Bytes, st.Lost())
	}
	now = now.Add(time.Hour)
	s.Bound(4<<20, time.Minute)
	stored()
	if st := s.Stats(); st.Waiting() != 40 {
		t.Errorf("%d wait, want the 40 that are younger than a minute", st.Waiting())
	}
}

// Others who fill the disk cost events, but not all of them at once.
func TestReserveDropsAFileAtATime(t *testing.T) {
	s := small(t, fast(t))
	rnd := rand.New(rand.NewPCG(1, 7))
	for s.Stats().Files < 6 {
		appendAll(t, s, events(s, rnd, 60)...)
	}
	s.o.Reserve = 1 << 60
	before := s.Stats()
	appendAll(t, s, events(s, rnd, 2)...)
	after := s.Stats()
	if after.Lost() == 0 || after.Waiting() < before.Waiting()/2 || after.Dropped[Disk][detectors.Low] != after.Lost() {
		t.Errorf("%+v became %+v", before, after)
	}
}
