package spool

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// The buckets of a file. Every value in them is sealed. Those of the state are
// right in the head alone: each new head takes them over from the one before.
const (
	bucketHead   = "head"      // "ledger" → the numbers
	bucketFiles  = "files"     // file → what is in it; a file that is not here is not of the ring
	bucketDone   = "done"      // chunk → bits
	bucketFlight = "in-flight" // topic/partition → batch
	bucketMoved  = "moved"     // sequence → severity under which the valid copy is queued
	bucketOpen   = "open"      // alarm → severity
	bucketState  = "state"     // the caller's
	bucketDead   = "dead"      // sequence → reason, metas and body

	keyLedger = "ledger"
	keyMetas  = "m" // of a block
	keyBodies = "b"
)

func stateBuckets() []string {
	return []string{bucketHead, bucketFiles, bucketDone, bucketFlight, bucketMoved, bucketOpen, bucketState, bucketDead}
}

func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func numberOf(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, fmt.Errorf("%w: %q is no number", errDamaged, key)
	}
	return binary.BigEndian.Uint64(key), nil
}

// sealPlace names a value for seal. It does not name the file: blocks are the
// same in every file.
func sealPlace(bucket string, key []byte) string { return bucket + "\x00" + string(key) }

func (p place) sealed(part string) string {
	return sealPlace(p.severity.String(), number(p.block)) + part
}

func (s *sealer) put(tx *bbolt.Tx, bucket string, key, raw []byte) error {
	return tx.Bucket([]byte(bucket)).Put(key, s.seal(sealPlace(bucket, key), raw))
}

// each calls fn with every value of a bucket.
func (t *txn) each(bucket string, fn func(key, raw []byte) error) error {
	b := t.tx.Bucket([]byte(bucket))
	if b == nil {
		return fmt.Errorf("%w: there is no bucket %s", errDamaged, bucket)
	}
	return b.ForEach(func(key, sealed []byte) error {
		raw, err := t.unseal(sealPlace(bucket, key), sealed)
		if err != nil {
			return err
		}
		return fn(key, raw)
	})
}

// makeBuckets is the first thing done to a new file.
func makeBuckets(tx *bbolt.Tx) error {
	for _, name := range stateBuckets() {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	for s := detectors.Low; s <= detectors.Critical; s++ {
		if _, err := tx.CreateBucket([]byte(s.String())); err != nil {
			return err
		}
	}
	return nil
}

// copyState takes the state over from one head to the next.
func copyState(to, from *bbolt.Tx) error {
	for _, name := range stateBuckets() {
		dst := to.Bucket([]byte(name))
		dst.FillPercent = fill
		if err := from.Bucket([]byte(name)).ForEach(dst.Put); err != nil {
			return err
		}
	}
	return nil
}

// fill is how full pages are made: keys mostly come in ascending order.
const fill = 0.95
