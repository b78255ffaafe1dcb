package detectors

import (
	"encoding/binary"
	"math"
)

// Counts is a histogram of up to 256 bins whose counts are ≥ 0. A channel uses few
// of them, side by side, so only those from the first to the last that was ever
// added to take memory, sixteen at once: it allocates at most sixteen times in
// its life. The zero value is empty.
type Counts[T float32 | float64] struct {
	first int // bin of at[0]
	at    []T
}

const (
	bins  = 256
	share = 16 // bins that memory is taken for at once
)

// Add adds to a bin.
func (c *Counts[T]) Add(bin int, n T) {
	if i := bin - c.first; i >= 0 && i < len(c.at) {
		c.at[i] += n
		return
	}
	c.grow(bin)
	c.at[bin-c.first] += n
}

func (c *Counts[T]) grow(bin int) {
	first, end := bin/share*share, bin/share*share+share
	if len(c.at) > 0 {
		first, end = min(first, c.first), max(end, c.first+len(c.at))
	}
	larger := make([]T, end-first)
	copy(larger[max(c.first-first, 0):], c.at) // none are at 0
	c.first, c.at = first, larger
}

// Scale multiplies every count.
func (c *Counts[T]) Scale(by float64) {
	for i, n := range c.at {
		c.at[i] = T(float64(n) * by)
	}
}

// Bins is the first bin in use and the counts from there on, to be read only.
func (c *Counts[T]) Bins() (first int, at []T) { return c.first, c.at }

// appendTo writes the first bin, how many there are, and their counts.
func (c *Counts[T]) appendTo(b []byte) ([]byte, error) {
	b = binary.LittleEndian.AppendUint16(b, uint16(c.first))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.at)))
	return binary.Append(b, binary.LittleEndian, c.at)
}

// loadFrom reads what appendTo wrote, into memory of its own.
func (c *Counts[T]) loadFrom(data []byte) (rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, false
	}
	first, n := int(binary.LittleEndian.Uint16(data)), int(binary.LittleEndian.Uint16(data[2:]))
	if first%share != 0 || n%share != 0 || first+n > bins || n == 0 && first > 0 {
		return nil, false
	}
	at := make([]T, n)
	read, err := binary.Decode(data[4:], binary.LittleEndian, at)
	if err != nil {
		return nil, false
	}
	for _, x := range at {
		if !Within(0, math.MaxFloat64, float64(x)) {
			return nil, false
		}
	}
	c.first, c.at = first, at
	return data[4+read:], true
}
