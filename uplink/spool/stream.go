package spool

import (
	"slices"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// stream goes through the blocks of one severity in the order of their first
// sequences, over several files. Nothing may be stored or deleted meanwhile.
type stream struct {
	t        *txn
	severity detectors.Severity
	feeds    []*feed
}

// feed is the blocks of one file, from at on.
type feed struct {
	file   *file
	at     uint64
	cursor *bbolt.Cursor // nil until at is known to be a block and not only a bound
}

// stream begins at the first block from sequence from on that may hold live
// records. It opens no file before it is needed.
func (t *txn) stream(severity detectors.Severity, from uint64, files ...*file) *stream {
	st := &stream{t: t, severity: severity}
	for _, f := range files {
		if on := f.shelves[severity]; on.live > 0 && on.last >= from {
			st.feeds = append(st.feeds, &feed{file: f, at: max(from, on.first)})
		}
	}
	return st
}

// peek is the feed of the next block, nil after the last.
func (st *stream) peek() (*feed, error) {
	for len(st.feeds) > 0 {
		least := 0
		for i, f := range st.feeds {
			if f.at < st.feeds[least].at {
				least = i
			}
		}
		f := st.feeds[least]
		if f.cursor != nil {
			return f, nil
		}
		shelf, err := st.t.shelf(f.file, st.severity)
		if err != nil {
			return nil, err
		}
		f.cursor = shelf.Cursor()
		key, _ := f.cursor.Seek(number(f.at))
		if err := st.set(least, key); err != nil {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // the end
}

// next is the next block, nil after the last.
func (st *stream) next() (*block, error) {
	f, err := st.peek()
	if f == nil {
		return nil, err
	}
	p := place{f.file.number, st.severity, f.at}
	key, _ := f.cursor.Next()
	for i := range st.feeds {
		if st.feeds[i] == f {
			if err := st.set(i, key); err != nil {
				return nil, err
			}
			break
		}
	}
	return st.t.block(p)
}

// set moves a feed on to the block with this key, or ends it.
func (st *stream) set(i int, key []byte) (err error) {
	if key == nil {
		st.feeds = append(st.feeds[:i], st.feeds[i+1:]...)
		return nil
	}
	st.feeds[i].at, err = numberOf(key)
	return err
}

// ordered goes through records of one severity in the order of their sequences.
// Blocks overlap where records were promoted or moved, so it merges those whose
// turn has come.
type ordered struct {
	blocks *stream
	seek   func(b *block, i int) int // the first index from i on that is wanted
	open   []opened                  // in the order of their first sequences
	least  int                       // of open, after peek
}

type opened struct {
	*block
	i int
}

func (o opened) seq() uint64 { return o.metas[o.i].seq }

func (t *txn) inOrder(severity detectors.Severity, from uint64, seek func(*block, int) int) *ordered {
	return &ordered{blocks: t.stream(severity, from, t.files...), seek: seek}
}

// peek is the next record, as an index into its block; no block after the last.
func (o *ordered) peek() (*block, int, error) {
	for {
		o.least = -1
		for i := range o.open {
			if o.least < 0 || o.open[i].seq() < o.open[o.least].seq() {
				o.least = i
			}
		}
		next, err := o.blocks.peek()
		if err != nil {
			return nil, 0, err
		}
		if next == nil || o.least >= 0 && o.open[o.least].seq() < next.at {
			break
		}
		b, err := o.blocks.next()
		if err != nil {
			return nil, 0, err
		}
		if i := o.seek(b, 0); i < len(b.metas) {
			o.open = append(o.open, opened{b, i})
		}
	}
	if o.least < 0 {
		return nil, 0, nil
	}
	return o.open[o.least].block, o.open[o.least].i, nil
}

// skip goes past the record that peek returned.
func (o *ordered) skip() {
	at := &o.open[o.least]
	if at.i = o.seek(at.block, at.i+1); at.i == len(at.metas) {
		o.open = slices.Delete(o.open, o.least, o.least+1)
	}
}

// oldest is the first block that has a wanted record left.
func (o *ordered) oldest() uint64 { return o.open[0].block.block }
