package spool

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tocsin/detectors"
	"tocsin/uplink"
)

// TestDiskFull fills a disk of 2 MiB: what is stored stays, what is not is
// refused whole, delivery goes on, and all is well when there is room again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("needs the right to mount a small tmpfs: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := small(t, filepath.Join(dir, "spool"), func(o *Options) { o.FileBytes = 256 << 10 })
	rnd := rand.New(rand.NewPCG(1, 3))
	stored := 0
	var err error
	for err == nil && stored < 100_000 {
		records := events(s, rnd, 50)
		if err = s.Append(t.Context(), records, nil); err == nil {
			stored += len(records)
		}
	}
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "max_size") {
		t.Fatalf("full disk: %v", err)
	}
	if n := count(t, s); n != stored || s.NextSeq() != uint64(stored)+1 {
		t.Fatalf("%d events, next %d; %d were stored", n, s.NextSeq(), stored)
	}
	b := next(t, s)
	if err := s.Done(b); err != nil {
		t.Fatal(err)
	}
	next(t, s)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	appendAll(t, s, events(s, rnd, 50)...)
	if n := count(t, s); n != stored+50-len(b.Records) {
		t.Errorf("%d events after the disk had room again, want %d", n, stored+50-len(b.Records))
	}
}

func count(t *testing.T, s *Spool) (n int) {
	t.Helper()
	if err := s.Walk(func(uplink.Record, string) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A transaction that fails half-way leaves no trace, in memory neither.
func TestFailedTransactionLeavesNothing(t *testing.T) {
	s := small(t, t.TempDir())
	first := raise(s, 1, detectors.Low)
	appendAll(t, s, first)
	sent := next(t, s)
	appendAll(t, s, raise(s, 2, detectors.Low))
	if err := s.Done(sent); err != nil {
		t.Fatal(err)
	}
	before := s.Stats()
	broken := errors.New("broken")
	<-s.gate
	err := s.commit("try", func(t *txn) error {
		r := follow(first, 3, uplink.Updated, detectors.Critical)
		if err := errors.Join(t.store([]uplink.Record{r}), t.settle()); err != nil {
			return err
		}
		return broken
	})
	s.leave()
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if after := s.Stats(); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("%+v became %+v", before, after)
	}
	wantSeqs(t, next(t, s), 2) // the acknowledgement was not forgotten
	if st := s.Stats(); st.Acknowledged != 1 {
		t.Errorf("%+v", st)
	}
}

// An error of the disk may come after the transaction was written. Whoever
// tries again must not store or send twice.
func TestDoubtfulTransactions(t *testing.T) {
	s := small(t, t.TempDir())
	records := []uplink.Record{raise(s, 1, detectors.Low), raise(s, 2, detectors.Low)}
	appendAll(t, s, records...)
	s.tried, s.stale = span{1, 2}, true // as if it had failed
	appendAll(t, s, records...)
	if n := count(t, s); n != 2 {
		t.Errorf("%d events", n)
	}

	sent := next(t, s)
	s.lastRef, s.stale = sent.Ref-1, true // as if nobody had got the batch
	again := next(t, s)
	wantSeqs(t, again, seqs(sent)...)
	if again.Ref != sent.Ref {
		t.Errorf("batch %d became %d", sent.Ref, again.Ref)
	}

	if _, err := s.Rewrite(t.Context(), again, 0, uplink.Producer{}, 0, false); err != nil {
		t.Fatal(err)
	}
	s.stale = true
	if _, err := s.Rewrite(t.Context(), again, 0, uplink.Producer{}, 0, false); err != nil {
		t.Errorf("a batch that is no more, taken back again: %v", err)
	}
	wantSeqs(t, next(t, s), 1, 2)
}

// NoSync must reach bbolt: the power-loss tests rest on it.
func TestNoSyncReachesBolt(t *testing.T) {
	for _, off := range []bool{true, false} {
		s := small(t, t.TempDir(), func(o *Options) { o.NoSync = off })
		if s.head().db.NoSync != off || s.head().db.NoGrowSync != off || s.head().db.NoFreelistSync {
			t.Errorf("NoSync %v: %v", off, s.head().db)
		}
	}
}

// A torn last transaction is taken back by bbolt; its sequences are given out
// again, under another epoch.
func TestTornTransactionChangesEpoch(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	appendAll(t, s, raise(s, 1, detectors.Low))
	appendAll(t, s, raise(s, 2, detectors.Low))
	epoch, page := s.Epoch(), s.transactions(t)%2
	_ = s.Close()
	f, err := os.OpenFile(fileName(dir, 1), os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt([]byte("torn"), int64(page)*4096+16+50)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	s = small(t, dir)
	if s.NextSeq() != 2 || s.Epoch() == epoch {
		t.Errorf("next %d, epoch %x; was %x", s.NextSeq(), s.Epoch(), epoch)
	}
	appendAll(t, s, raise(s, 2, detectors.Low))
	if b := next(t, s); len(b.Records) != 2 || b.Records[0].Epoch != epoch || b.Records[1].Epoch == epoch {
		t.Errorf("%v", b.Records)
	}
}

// What was in a file that somebody removed is counted, and the rest goes on.
func TestMissingFileIsCounted(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	rnd := rand.New(rand.NewPCG(1, 4))
	for s.Stats().Files < 4 {
		appendAll(t, s, events(s, rnd, 50)...)
	}
	next(t, s)
	all := s.Stats().Appended
	_ = s.Close()
	if err := os.Remove(fileName(dir, 1)); err != nil {
		t.Fatal(err)
	}
	s = small(t, dir)
	st := s.Stats()
	if st.Lost() == 0 || st.Lost() != st.Appended-st.Waiting() || st.Appended != all || uint64(count(t, s)) != st.Waiting() {
		t.Errorf("%+v", st)
	}
	if len(st.InFlight) != 0 {
		t.Errorf("in flight: %v", st.InFlight)
	}
	next(t, s)
}

// A damaged block is an error that says where, never other events.
func TestDamageIsNoticed(t *testing.T) {
	dir := t.TempDir()
	s := small(t, dir)
	r := raise(s, 1, detectors.Low)
	r.Body = []byte(strings.Repeat("0123456789abcdef", 4)[:60])
	appendAll(t, s, r)
	_ = s.Close()
	raw, err := os.ReadFile(fileName(dir, 1))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(raw), "0123456789abcdef", "0123456789abcdeF")
	if text == string(raw) {
		t.Fatal("the body is not in the file as it is")
	}
	if err := os.WriteFile(fileName(dir, 1), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s = small(t, dir)
	if _, err := s.Next(context.Background(), lane); !errors.Is(err, errDamaged) {
		t.Errorf("a changed body: %v", err)
	}
}
