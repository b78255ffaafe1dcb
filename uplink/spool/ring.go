package spool

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// refresh makes memory what the disk holds, after a transaction failed.
func (s *Spool) refresh() error {
	if s.unsynced {
		if err := s.o.syncDir(s.dir); err != nil {
			return err
		}
		s.unsynced = false
	}
	if !s.stale {
		return nil
	}
	former := s.ledger
	s.closeFiles()
	err := s.load()
	if err != nil {
		s.ledger = former // for those who ask
	}
	return err
}

// load opens the head and reads the state from it, and nothing of the events.
func (s *Spool) load() error {
	s.stale = true
	s.memory = memory{
		flights: map[laneID]*flight{}, flying: map[uint64]struct{}{},
		moved: map[uint64]detectors.Severity{}, open: map[uint64]openAlarm{},
	}
	s.cache, s.lanes = cache{}, lanes{}
	numbers, err := fileNumbers(s.dir)
	if err != nil {
		return err
	}
	if len(numbers) == 0 {
		return s.begin()
	}
	newest := numbers[len(numbers)-1]
	path := fileName(s.dir, newest)
	if s.torn, err = verify(path); err != nil {
		return salvage(path, err)
	}
	head := &file{number: newest}
	if head.db, err = s.o.openHead(path); err != nil {
		if errors.Is(err, bbolt.ErrInvalid) || errors.Is(err, bbolt.ErrChecksum) { //nolint:staticcheck // the names bbolt.Open documents
			return salvage(path, err)
		}
		return err
	}
	s.files = []*file{head}
	if err := s.view((*txn).load); err != nil {
		return salvage(path, err)
	}
	s.stale = false
	s.measure()
	return s.tidy(numbers)
}

// begin makes the first file of a new store.
func (s *Spool) begin() error {
	s.epoch, s.next = newEpoch(), 1
	head := &file{number: 1}
	db, renamed, err := s.o.createFile(s.dir, head.number, func(tx *bbolt.Tx) error {
		if err := makeBuckets(tx); err != nil {
			return err
		}
		if err := s.put(tx, bucketFiles, number(head.number), head.encode()); err != nil {
			return err
		}
		return s.put(tx, bucketHead, []byte(keyLedger), s.ledger.encode())
	})
	if !renamed {
		return err
	}
	head.db, s.files = db, []*file{head}
	if err == nil {
		s.stale = false
		s.measure()
	}
	return err
}

func newEpoch() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// renew gives the store another epoch: its newest transaction is lost, so
// sequences may be given out a second time.
func (s *Spool) renew() error {
	s.o.Log.Warn("the buffer's last write was cut short: new events count under a new epoch")
	return s.commit("begin a new epoch", func(t *txn) error {
		t.epoch, t.wrote = newEpoch(), true
		return nil
	})
}

// load reads the state of the head.
func (t *txn) load() error {
	raw := []byte(nil)
	err := t.each(bucketHead, func(_, value []byte) error { raw = value; return nil })
	if err == nil {
		err = t.ledger.decode(raw)
	}
	return errors.Join(err, t.loadFiles(), t.loadDone(), t.loadFlights(), t.loadAlarms())
}

func (t *txn) loadFiles() error {
	head := t.head()
	files := []*file{}
	err := t.each(bucketFiles, func(key, raw []byte) error {
		n, err := numberOf(key)
		if err != nil {
			return err
		}
		f := &file{number: n}
		if n == head.number {
			f = head
		}
		files = append(files, f)
		return f.decode(raw)
	})
	if err != nil {
		return err
	}
	if len(files) == 0 || files[len(files)-1] != head {
		return fmt.Errorf("%w: file %d is not the newest of its own list", errDamaged, head.number)
	}
	t.files = files
	return nil
}

func (t *txn) loadDone() error {
	t.done.first = t.chunk
	return t.each(bucketDone, func(key, raw []byte) error {
		n, err := numberOf(key)
		if err == nil && !t.done.load(n, raw) {
			err = fmt.Errorf("%w: what is done of chunk %d", errDamaged, n)
		}
		return err
	})
}

func (t *txn) loadFlights() error {
	return t.each(bucketFlight, func(key, raw []byte) error {
		id, ok := parseLaneID(string(key))
		if !ok {
			return fmt.Errorf("%w: %q is no partition", errDamaged, key)
		}
		f, err := decodeFlight(id, raw)
		if err != nil {
			return err
		}
		t.flights[id] = f
		for _, m := range f.members {
			t.flying[m.seq] = struct{}{}
		}
		return nil
	})
}

func (t *txn) loadAlarms() error {
	err := t.each(bucketMoved, func(key, raw []byte) error {
		seq, err := numberOf(key)
		if err != nil || len(raw) != 1 {
			return errors.Join(errDamaged, err)
		}
		t.moved[seq] = detectors.Severity(raw[0])
		return nil
	})
	return errors.Join(err, t.each(bucketOpen, func(key, raw []byte) error {
		alarm, err := numberOf(key)
		if err == nil {
			t.open[alarm], err = decodeOpen(raw)
		}
		return err
	}))
}

// tidy unlinks files that are not of the ring any more, and counts as dropped
// what was in files that somebody removed.
func (s *Spool) tidy(numbers []uint64) error {
	for _, n := range numbers {
		if s.fileNumbered(n) == nil {
			if err := os.Remove(fileName(s.dir, n)); err != nil {
				return err
			}
		}
	}
	lost := slices.DeleteFunc(slices.Clone(s.files), func(f *file) bool { return slices.Contains(numbers, f.number) })
	if len(lost) == 0 {
		return nil
	}
	return s.commit("give up events in removed files", func(t *txn) error {
		for _, f := range lost {
			if err := t.giveUp(f); err != nil {
				return err
			}
		}
		return nil
	})
}

// giveUp counts everything in a file as dropped. Batches with members in it are
// in flight no more; what they have in other files is queued again.
func (t *txn) giveUp(f *file) error {
	t.wrote = true
	for severity := range f.shelves {
		n := uint64(f.shelves[severity].live)
		t.queued[severity] -= n
		t.dropped[Missing][severity] += n
		f.shelves[severity] = shelf{}
	}
	for id, flight := range t.flights {
		if slices.ContainsFunc(flight.members, func(m member) bool { return m.file == f.number }) {
			t.requeue(flight.members)
			if err := t.land(id, flight); err != nil {
				return err
			}
		}
	}
	t.o.Log.Error("a file of the buffer is missing: its events are lost", "file", fileName(t.dir, f.number))
	return nil
}

// roll begins a new head, which takes the state over. The former one is closed
// and only read from then on.
func (s *Spool) roll() error {
	old := s.head()
	head := &file{number: old.number + 1}
	filed := *old
	filed.filed = old.live()
	tx, err := old.db.Begin(false)
	if err != nil {
		return err
	}
	db, renamed, err := s.o.createFile(s.dir, head.number, func(to *bbolt.Tx) error {
		return errors.Join(makeBuckets(to), copyState(to, tx),
			s.put(to, bucketFiles, number(filed.number), filed.encode()),
			s.put(to, bucketFiles, number(head.number), head.encode()))
	})
	_ = tx.Rollback()
	if !renamed {
		return err
	}
	s.unsynced = err != nil
	old.filed = filed.filed
	err = errors.Join(err, old.close())
	head.db = db
	s.files = append(s.files, head)
	s.measure()
	return err
}

// measure notes how far the head's file is used, and how much within is free.
func (s *Spool) measure() {
	f := s.head()
	tx, err := f.db.Begin(true) // bbolt counts free pages when one ends
	if err != nil {
		s.stale = true
		return
	}
	f.bytes = tx.Size()
	_ = tx.Rollback()
	stats := f.db.Stats()
	s.free = int64(stats.FreePageN+stats.PendingPageN) * 4096
}

// bytes is the disk space that the ring uses.
func (s *Spool) bytes() (n int64) {
	for _, f := range s.files {
		n += f.bytes
	}
	return n
}

// full says whether the head should not take so many bytes more.
func (s *Spool) full(need int64) bool {
	return s.head().bytes-s.free+need > s.o.FileBytes/10*9 && s.head().live() > 0
}

// shrink gives disk space back after a backlog: a head that is large and nearly
// empty is left for a new one.
func (s *Spool) shrink() error {
	f := s.head()
	if f.bytes <= s.o.FileBytes/16 || (f.bytes-s.free)*8 > f.bytes {
		return nil
	}
	if err := s.roll(); err != nil {
		return err
	}
	return s.empty(f)
}

// emptiest is the older file whose events cost the least to move.
func (s *Spool) emptiest() *file {
	older := s.files[:len(s.files)-1]
	if len(older) == 0 {
		return nil
	}
	return slices.MinFunc(older, func(a, b *file) int { return cmp.Compare(a.share(), b.share()) })
}
