package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"syscall"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
	"tocsin/uplink"
)

// txn is one transaction in the head. It changes memory as it goes: when it
// fails, memory is thrown away and read again from the disk, as after a crash.
type txn struct {
	*Spool
	tx      *bbolt.Tx
	wrote   bool
	touched map[place]struct{}      // blocks that lost a live record
	served  map[laneID]uplink.Batch // by launch
	gone    []*file                 // nothing in them is queued any more
}

// commit runs one transaction with all that waits for one: it deletes what was
// acknowledged, makes change, and puts a batch in flight for every lane that
// waits and has records. Without anything to do it writes nothing. The caller
// has the gate.
func (s *Spool) commit(what string, change func(*txn) error) error {
	if err := s.refresh(); err != nil {
		return s.explain(what, err)
	}
	tx, err := s.head().db.Begin(true)
	if err != nil {
		s.stale = true
		return s.explain(what, err)
	}
	t := &txn{Spool: s, tx: tx, touched: map[place]struct{}{}, served: map[laneID]uplink.Batch{}}
	err = t.run(change)
	if err == nil && t.wrote {
		err = tx.Commit()
	} else {
		_ = tx.Rollback()
	}
	if err != nil {
		s.stale = true
		return s.explain(what, err)
	}
	if !t.wrote {
		return nil
	}
	t.committed()
	if err := s.shrink(); err != nil {
		s.stale = true
		s.o.Log.Warn("the buffer keeps more disk space than it needs", "err", s.explain("give space back", err))
	}
	return nil
}

func (t *txn) run(change func(*txn) error) error {
	if change != nil {
		if err := change(t); err != nil {
			return err
		}
	}
	next, err := t.chooseAll()
	if err != nil {
		return err
	}
	if !t.wrote && len(next) == 0 {
		return nil // what was acknowledged is not worth a transaction
	}
	if err := t.settle(); err != nil {
		return err
	}
	t.launch(next)
	if err := t.sweep(); err != nil {
		return err
	}
	return t.flush()
}

// committed does what may only follow the transaction.
func (t *txn) committed() {
	s := t.Spool
	clear(s.acked)
	s.lastRef = s.ref
	for _, f := range t.gone {
		// What cannot be unlinked now is not of the ring any more: the next
		// start does it.
		if err := errors.Join(f.close(), os.Remove(fileName(s.dir, f.number))); err != nil {
			s.o.Log.Warn("an empty file of the buffer stays", "err", err)
		}
	}
	s.cache.drop(t.gone)
	s.measure()
	s.closeIdle()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, b := range t.served {
		s.waiting[id].ready <- b
		delete(s.waiting, id)
	}
}

// view reads the head outside a write transaction.
func (s *Spool) view(fn func(*txn) error) error {
	tx, err := s.head().db.Begin(false)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	return fn(&txn{Spool: s, tx: tx})
}

// add stores a block in the head and makes it the valid place of its records,
// which count as queued from now on.
func (t *txn) add(b *block) error {
	f := t.head()
	b.file = f.number
	blocks := t.tx.Bucket([]byte(b.severity.String()))
	blocks.FillPercent = fill
	bucket, err := blocks.CreateBucket(number(b.block))
	if err != nil {
		return fmt.Errorf("store block %d: %w", b.block, err)
	}
	if err := bucket.Put([]byte(keyMetas), t.seal(b.sealed(keyMetas), b.appendMetas(nil))); err != nil {
		return err
	}
	if err := bucket.Put([]byte(keyBodies), t.seal(b.sealed(keyBodies), b.bodies)); err != nil {
		return err
	}
	t.wrote = true
	on := &f.shelves[b.severity]
	if on.live == 0 {
		on.first, on.last = b.block, b.block
	}
	on.first, on.last = min(on.first, b.block), max(on.last, b.block)
	on.live += int64(len(b.metas))
	f.dirt = true
	t.queued[b.severity] += uint64(len(b.metas))
	t.lanes.lower(b.severity, b.block)
	t.cache.put(b)
	return t.noteOpen(b)
}

// leavePlace ends the validity of a record's copy.
func (t *txn) leavePlace(p place) {
	t.wrote = true
	t.queued[p.severity]--
	t.touched[p] = struct{}{}
	if f := t.fileNumbered(p.file); f != nil {
		f.shelves[p.severity].live--
		f.dirt = true
	}
}

// retire ends a record: it is done with, for whatever reason.
func (t *txn) retire(p place, seq uint64) error {
	t.leavePlace(p)
	t.done.add(seq)
	if _, ok := t.moved[seq]; !ok {
		return nil
	}
	delete(t.moved, seq)
	return t.tx.Bucket([]byte(bucketMoved)).Delete(number(seq))
}

// live says whether b is where its record i is queued, or in flight.
func (s *Spool) live(b *block, i int) bool {
	seq := b.metas[i].seq
	if s.done.has(seq) {
		return false
	}
	severity, moved := s.moved[seq]
	return !moved || severity == b.severity
}

func (s *Spool) dead(b *block) bool {
	for i := range b.metas {
		if s.live(b, i) {
			return false
		}
	}
	return true
}

// sweep deletes blocks of the head in which nothing is live, and moves the
// beginning of shelves past such blocks.
func (t *txn) sweep() error {
	touched := slices.SortedFunc(maps.Keys(t.touched), func(a, b place) int { return cmp.Compare(a.block, b.block) })
	for _, p := range touched {
		f := t.fileNumbered(p.file)
		if f == nil {
			continue
		}
		on := &f.shelves[p.severity]
		if on.live == 0 && f != t.head() {
			continue // nobody looks there any more
		}
		b, err := t.block(p)
		if err != nil {
			return err
		}
		if !t.dead(b) {
			continue
		}
		if err := t.pass(f, b); err != nil {
			return err
		}
	}
	return nil
}

// pass deletes a dead block where it can be deleted, and begins the shelf after
// it where it was the first.
func (t *txn) pass(f *file, b *block) error {
	on := &f.shelves[b.severity]
	blocks, err := t.shelf(f, b.severity)
	if err != nil {
		return err
	}
	if f == t.head() {
		t.cache.forget(b.place)
		if err := blocks.DeleteBucket(number(b.block)); err != nil {
			return fmt.Errorf("delete block %d: %w", b.block, err)
		}
	}
	f.dirt = true
	switch key, _ := blocks.Cursor().Seek(number(b.block + 1)); {
	case on.live == 0:
		*on = shelf{}
	case on.first == b.block && key != nil:
		on.first, err = numberOf(key)
	}
	return err
}

// flush writes what changed in memory.
func (t *txn) flush() error {
	files := t.tx.Bucket([]byte(bucketFiles))
	kept := t.files[:0:0]
	for _, f := range t.files {
		if f != t.head() && f.live() == 0 {
			t.gone = append(t.gone, f)
			if err := files.Delete(number(f.number)); err != nil {
				return err
			}
			continue
		}
		kept = append(kept, f)
		if !f.dirt {
			continue
		}
		if err := t.put(t.tx, bucketFiles, number(f.number), f.encode()); err != nil {
			return err
		}
		f.dirt = false
	}
	t.files = kept
	err := t.done.flush(func(n uint64, raw []byte) error {
		return t.put(t.tx, bucketDone, number(n), raw)
	}, func(n uint64) error {
		return t.tx.Bucket([]byte(bucketDone)).Delete(number(n))
	})
	if err != nil {
		return err
	}
	for id, f := range t.flights {
		if !f.dirty {
			continue
		}
		if err := t.put(t.tx, bucketFlight, []byte(id.key()), f.encode()); err != nil {
			return err
		}
		f.dirty = false
	}
	t.chunk = t.done.first
	return t.put(t.tx, bucketHead, []byte(keyLedger), t.ledger.encode())
}

// explain says what could not be done and what helps.
func (s *Spool) explain(what string, err error) error {
	cure := ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		cure = ": free disk space, or lower [spool] max_size"
	case errors.Is(err, syscall.EROFS):
		cure = ": the file system is read-only: look into its log (dmesg), repair it and mount it writable"
	case errors.Is(err, syscall.EIO):
		cure = ": the card or disk fails: replace it"
	case errors.Is(err, fs.ErrPermission):
		cure = ": let the agent's user write to the folder"
	}
	return fmt.Errorf("%s in %s: %w%s", what, s.dir, err, cure)
}

// severities are those of records, the gravest first.
func severities() []detectors.Severity {
	return []detectors.Severity{detectors.Critical, detectors.High, detectors.Medium, detectors.Low}
}
