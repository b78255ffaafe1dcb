package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detectors"
	"tocsin/uplink"
	"tocsin/uplink/uplinktest"
)

func TestContract(t *testing.T) {
	uplinktest.Spool(t, func(t *testing.T, dir string) uplink.Spool {
		s, err := Open(dir, Options{NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// small is a buffer that rolls often.
func small(t *testing.T, dir string, change ...func(*Options)) *Spool {
	t.Helper()
	o := Options{FileBytes: minFileBytes, NoSync: true}
	for _, c := range change {
		c(&o)
	}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSecondProcessIsTold(t *testing.T) {
	dir := t.TempDir()
	small(t, dir)
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrInUse) || !strings.Contains(fmt.Sprint(err), fmt.Sprint("process ", os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
}

// fast is a folder in memory where there is one: for tests that make many files
// and sync none.
func fast(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "spool-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// raise, update and clear make records of machine pump1, numbered from next on.
func raise(s *Spool, seq uint64, severity detectors.Severity) uplink.Record {
	return uplinktest.Record(s.Epoch(), seq, severity)
}

func follow(r uplink.Record, seq uint64, state uplink.State, severity detectors.Severity) uplink.Record {
	r.Seq, r.State, r.Severity = seq, state, severity
	return r
}

func appendAll(t *testing.T, s *Spool, records ...uplink.Record) {
	t.Helper()
	if err := s.Append(t.Context(), records, nil); err != nil {
		t.Fatal(err)
	}
}

var lane = uplink.Lane{Topic: "events", Partition: 0, Partitions: 1}

func next(t *testing.T, s *Spool) uplink.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := s.Next(ctx, lane)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func seqs(b uplink.Batch) (all []uint64) {
	for i := range b.Records {
		all = append(all, b.Records[i].Seq)
	}
	return all
}

func wantSeqs(t *testing.T, b uplink.Batch, want ...uint64) {
	t.Helper()
	if got := seqs(b); !slices.Equal(got, want) {
		t.Errorf("batch of %v, want %v", got, want)
	}
}

func TestEscalationPromotes(t *testing.T) {
	s := small(t, t.TempDir())
	first := raise(s, 1, detectors.Low)
	appendAll(t, s, first, raise(s, 2, detectors.Medium))
	appendAll(t, s, follow(first, 3, uplink.Updated, detectors.Low), raise(s, 4, detectors.Low))
	appendAll(t, s, follow(first, 5, uplink.Updated, detectors.High))
	appendAll(t, s, follow(first, 6, uplink.Cleared, detectors.High))
	wantSeqs(t, next(t, s), 1, 3, 5, 6, 2, 4)
}

// What is in flight when its alarm escalates stays as it is, and comes in order
// when it is given back.
func TestEscalationPassesFlightBy(t *testing.T) {
	s := small(t, t.TempDir())
	first := raise(s, 1, detectors.Low)
	appendAll(t, s, first, follow(first, 2, uplink.Updated, detectors.Low))
	sent := next(t, s)
	appendAll(t, s, follow(first, 3, uplink.Updated, detectors.Critical), raise(s, 4, detectors.High))
	left, err := s.InFlight(t.Context())
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	wantSeqs(t, left[0], 1, 2)
	if _, err := s.Rewrite(t.Context(), sent, 1, sent.Producer, sent.Sequence, false); err != nil {
		t.Fatal(err)
	}
	sent.Records = sent.Records[:1]
	if err := s.Done(sent); err != nil {
		t.Fatal(err)
	}
	wantSeqs(t, next(t, s), 2, 3, 4)
}

func TestStateIsCommittedWithItsEvents(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	set := func(key, value string) uplink.Entry { return uplink.Entry{Key: key, Value: []byte(value)} }
	if err := s.Append(t.Context(), []uplink.Record{raise(s, 1, detectors.Low)}, []uplink.Entry{set("b", "1"), set("a", "2"), set("c", "")}); err != nil {
		t.Fatal(err)
	}
	bad := raise(s, 7, detectors.Low)
	if s.Append(t.Context(), []uplink.Record{bad}, []uplink.Entry{set("b", "bad")}) == nil {
		t.Fatal("a gap was taken")
	}
	if err := s.Append(t.Context(), nil, []uplink.Entry{{Key: "a"}}); err != nil {
		t.Fatal(err)
	}
	epoch := s.Epoch()
	_ = s.Close()
	s = small(t, dir)
	got, err := s.State()
	if diff := cmp.Diff([]uplink.Entry{set("b", "1"), set("c", "")}, got); diff != "" || err != nil {
		t.Errorf("state %v (-want +got):\n%s", err, diff)
	}
	if s.Epoch() != epoch || s.NextSeq() != 2 {
		t.Errorf("epoch %x, next %d after a restart; were %x, 2", s.Epoch(), s.NextSeq(), epoch)
	}
}

// On a healthy link one transaction appends, puts in flight and deletes.
func TestOneTransactionADelivery(t *testing.T) {
	s := small(t, t.TempDir())
	got := make(chan uplink.Batch)
	go func() {
		for {
			b, err := s.Next(t.Context(), lane)
			if err != nil {
				close(got)
				return
			}
			_ = s.Done(b)
			got <- b
		}
	}()
	waits := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.waiting) == 1
	}
	before := s.transactions(t)
	for seq := uint64(1); seq <= 10; seq++ {
		for !waits() {
			time.Sleep(time.Millisecond)
		}
		appendAll(t, s, raise(s, seq, detectors.High))
		wantSeqs(t, <-got, seq)
	}
	if n := s.transactions(t) - before; n != 10 {
		t.Errorf("10 deliveries took %d transactions", n)
	}
}

func (s *Spool) transactions(t *testing.T) int {
	t.Helper()
	<-s.gate
	defer s.leave()
	tx, err := s.head().db.Begin(false)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	return tx.ID()
}

// A backlog lies in many files, leaves in order, and leaves one small file.
func TestRingRollsAndShrinks(t *testing.T) {
	s := small(t, t.TempDir())
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 3000
	for range n / 20 {
		appendAll(t, s, events(s, rnd, 20)...)
	}
	if st := s.Stats(); st.Files < 3 || st.Waiting() != n {
		t.Fatalf("%d events in %d files", st.Waiting(), st.Files)
	}
	got := 0
	for got < n {
		b := next(t, s)
		got += len(b.Records)
		if err := s.Done(b); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	for s.Stats().Files > 1 || s.Stats().Waiting() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("drained, and there is still %+v", s.Stats())
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = s.Close()
	s = small(t, s.dir)
	if s.done.first < n/chunkBits || len(s.done.chunks) > 1 {
		t.Errorf("what is done takes %d chunks from %d on", len(s.done.chunks), s.done.first)
	}
	names, _ := filepath.Glob(filepath.Join(s.dir, "*.db"))
	info, err := os.Stat(names[0])
	if err != nil || len(names) != 1 || info.Size() > minFileBytes {
		t.Errorf("%v, %d bytes, %v", names, info.Size(), err)
	}
}

func TestAgeDropsWholeAlarms(t *testing.T) {
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	trusted := true
	s := small(t, t.TempDir(), func(o *Options) {
		o.MaxAge, o.Clock = time.Hour, func() (time.Time, bool) { return now, trusted }
	})
	at := func(r uplink.Record, ago time.Duration) uplink.Record { r.Time = now.Add(-ago).UnixNano(); return r }
	old, open, late := raise(s, 1, detectors.High), raise(s, 2, detectors.Low), raise(s, 3, detectors.Low)
	appendAll(t, s, at(old, 0), at(open, 0), at(late, 0),
		at(follow(open, 4, uplink.Updated, detectors.Low), 0), at(follow(old, 5, uplink.Cleared, detectors.High), 0))
	now = now.Add(50 * time.Minute)
	appendAll(t, s, at(follow(late, 6, uplink.Cleared, detectors.Low), 0))
	now = now.Add(20 * time.Minute)
	trusted = false
	appendAll(t, s, at(raise(s, 7, detectors.Low), 0))
	if n := s.Stats().Lost(); n != 0 {
		t.Errorf("%d events dropped by a clock that is not trusted", n)
	}
	trusted = true
	appendAll(t, s, at(raise(s, 8, detectors.Low), 0))
	wantSeqs(t, next(t, s), 2, 3, 6, 7, 8)
	want := map[Reason][detectors.Critical + 1]uint64{Aged: {detectors.High: 2, detectors.Low: 1}}
	if diff := cmp.Diff(want, s.Stats().Dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}

// An event from before any right clock has no age: it was made while the clock
// was not set, and nobody knows when that was.
func TestTheUndatedDoNotAge(t *testing.T) {
	now := time.Date(2026, 11, 23, 13, 0, 0, 0, time.UTC)
	s := small(t, t.TempDir(), func(o *Options) {
		o.MaxAge, o.Oldest, o.Clock = time.Hour, now.AddDate(0, 0, -7), func() (time.Time, bool) { return now, true }
	})
	at := func(r uplink.Record, when time.Time) uplink.Record { r.Time = when.UnixNano(); return r }
	undated, old := raise(s, 1, detectors.High), raise(s, 3, detectors.High)
	appendAll(t, s, at(undated, time.Unix(0, 0)), at(follow(undated, 2, uplink.Cleared, detectors.High), time.Unix(60, 0)),
		at(old, now.Add(-2*time.Hour)), at(follow(old, 4, uplink.Cleared, detectors.High), now.Add(-2*time.Hour)))
	now = now.Add(2 * time.Minute)
	appendAll(t, s, at(raise(s, 5, detectors.High), now))
	wantSeqs(t, next(t, s), 1, 2, 5)
}

func TestDeadLettersAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	for seq := uint64(1); seq <= 4; seq++ {
		r := raise(s, seq, detectors.Low)
		r.Body = bytes.Repeat([]byte{byte(seq)}, 100)
		appendAll(t, s, r)
		if err := s.Bury(t.Context(), next(t, s), "too large"); err != nil {
			t.Fatal(err)
		}
	}
	_ = s.Close()
	s = small(t, dir)
	seen := 0
	err := s.Walk(func(r uplink.Record, where string) error {
		if seen++; where != "dead: too large" || len(r.Body) != 100 || r.Body[0] != byte(r.Seq) {
			t.Errorf("%s: %v", where, r)
		}
		return nil
	})
	if st := s.Stats(); err != nil || seen != 4 || st.Buried != 4 || st.Waiting() != 0 {
		t.Errorf("%d dead letters, %+v, %v", seen, st, err)
	}
}
