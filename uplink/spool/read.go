package spool

import (
	"fmt"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

const openFiles = 4 // older ones kept mapped between transactions

// reading is a transaction to read f with; the head's is t's own.
func (t *txn) reading(f *file) (*bbolt.Tx, error) {
	if f == t.head() {
		return t.tx, nil
	}
	if f.tx == nil {
		db, tx, err := t.o.openOld(fileName(t.dir, f.number))
		if err != nil {
			return nil, fmt.Errorf("read file %d: %w", f.number, err)
		}
		f.db, f.tx = db, tx
	}
	return f.tx, nil
}

// closeIdle unmaps all but a few of the older files: a 32-bit process has few
// addresses. The oldest are those that are drained next.
func (s *Spool) closeIdle() {
	opened := 0
	for _, f := range s.files[:len(s.files)-1] {
		if f.tx == nil {
			continue
		}
		if opened++; opened > openFiles {
			_ = f.close()
		}
	}
}

// shelf is the bucket of one severity's blocks.
func (t *txn) shelf(f *file, severity detectors.Severity) (*bbolt.Bucket, error) {
	tx, err := t.reading(f)
	if err != nil {
		return nil, err
	}
	b := tx.Bucket([]byte(severity.String()))
	if b == nil {
		return nil, fmt.Errorf("%w: file %d has no %s events", errDamaged, f.number, severity)
	}
	return b, nil
}

// block reads a block without its bodies.
func (t *txn) block(p place) (*block, error) {
	if b := t.cache.get(p); b != nil {
		return b, nil
	}
	sealed, err := t.part(p, keyMetas)
	if err != nil {
		return nil, err
	}
	raw, err := t.unseal(p.sealed(keyMetas), sealed)
	if err != nil {
		return nil, fmt.Errorf("file %d: %w", p.file, err)
	}
	b := &block{place: p}
	if err := b.decode(raw); err != nil {
		return nil, fmt.Errorf("file %d: %w", p.file, err)
	}
	t.cache.put(b)
	return b, nil
}

// withBodies reads the bodies of a block if it has none.
func (t *txn) withBodies(b *block) error {
	if b.bodies != nil {
		return nil
	}
	sealed, err := t.part(b.place, keyBodies)
	if err != nil {
		return err
	}
	raw, err := t.unseal(b.sealed(keyBodies), sealed)
	if err == nil && len(raw) != b.total() {
		err = fmt.Errorf("%w: block %d has %d bytes of bodies, not %d", errDamaged, b.place.block, len(raw), b.total())
	}
	if err != nil {
		return fmt.Errorf("file %d: %w", b.file, err)
	}
	b.bodies = raw
	return nil
}

// part is a sealed value of a block, valid during the transaction.
func (t *txn) part(p place, key string) ([]byte, error) {
	f := t.fileNumbered(p.file)
	if f == nil {
		return nil, fmt.Errorf("%w: file %d is not there", errDamaged, p.file)
	}
	shelf, err := t.shelf(f, p.severity)
	if err != nil {
		return nil, err
	}
	bucket := shelf.Bucket(number(p.block))
	if bucket == nil {
		return nil, fmt.Errorf("%w: file %d has no %s block %d", errDamaged, p.file, p.severity, p.block)
	}
	return bucket.Get([]byte(key)), nil
}
