package spool

import (
	"encoding/binary"
	"slices"
)

// doneSet holds which sequences are no longer queued: acknowledged, dropped or
// buried. It is the one thing that changes when a record of an older file is
// done: those files are never written again. A sequence costs one bit, from the
// oldest that is still queued on.
type doneSet struct {
	first  uint64   // number of chunks[0]; every earlier chunk is full
	chunks []*chunk // nil is an empty one
	dirty  []uint64 // numbers of the chunks that the disk does not have so yet
}

// chunk is the bits of chunkBits sequences, of which number n's first is
// n·chunkBits + 1.
type chunk [chunkBits / 64]uint64

const chunkBits = 1024

func (d *doneSet) has(seq uint64) bool {
	n := (seq - 1) / chunkBits
	if n < d.first {
		return true
	}
	if n-d.first >= uint64(len(d.chunks)) || d.chunks[n-d.first] == nil {
		return false
	}
	bit := (seq - 1) % chunkBits
	return d.chunks[n-d.first][bit/64]>>(bit%64)&1 != 0
}

func (d *doneSet) add(seq uint64) {
	n := (seq - 1) / chunkBits
	if n < d.first {
		return
	}
	d.grow(n)
	c := d.chunks[n-d.first]
	if c == nil {
		c = new(chunk)
		d.chunks[n-d.first] = c
	}
	bit := (seq - 1) % chunkBits
	c[bit/64] |= 1 << (bit % 64)
	if !slices.Contains(d.dirty, n) {
		d.dirty = append(d.dirty, n)
	}
}

func (d *doneSet) grow(n uint64) {
	for uint64(len(d.chunks)) <= n-d.first {
		d.chunks = append(d.chunks, nil)
	}
}

// flush hands every changed chunk to put, and to drop the numbers of those that
// are full and older than everything queued, which it forgets.
func (d *doneSet) flush(put func(n uint64, raw []byte) error, drop func(n uint64) error) error {
	for _, n := range d.dirty {
		if err := put(n, d.chunks[n-d.first].encode()); err != nil {
			return err
		}
	}
	d.dirty = d.dirty[:0]
	for len(d.chunks) > 0 && d.chunks[0] != nil && d.chunks[0].full() {
		if err := drop(d.first); err != nil {
			return err
		}
		d.chunks, d.first = d.chunks[1:], d.first+1
	}
	return nil
}

func (c *chunk) full() bool {
	for _, word := range c {
		if ^word != 0 {
			return false
		}
	}
	return true
}

func (c *chunk) encode() []byte {
	raw := make([]byte, 0, chunkBits/8)
	for _, word := range c {
		raw = binary.LittleEndian.AppendUint64(raw, word)
	}
	return raw
}

// load puts a chunk in as the disk has it; chunks come in ascending order.
func (d *doneSet) load(n uint64, raw []byte) bool {
	if len(raw) != chunkBits/8 || n < d.first || n-d.first > 1<<24 {
		return false
	}
	d.grow(n)
	c := new(chunk)
	for i := range c {
		c[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	d.chunks[n-d.first] = c
	return true
}
