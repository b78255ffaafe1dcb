package mad

import (
	"bytes"
	"math"
	"slices"
)

// length is how many readings the window holds: long enough for a scale known
// to 7 %, short enough to follow a load cycle.
const length = 256

// window is the newest readings in order of size, each with the turn in which it
// came. Median and median absolute deviation are exact after every reading: one
// search and one move of memory keep the order, and the middle half of the
// deviations is found from where it was one reading ago.
type window struct {
	n      int   // readings
	from   int   // where the nearest half of the readings to the median begins, in sorted
	next   uint8 // turn of the next reading, and so that of the oldest once full; turns go round
	turns  [length]uint8
	sorted [length]float64
}

// push takes x in and, once full, the oldest out.
func (w *window) push(x float64) {
	if x == 0 {
		x = 0 // not -0, whose sign would mislead search
	}
	out, in := w.n, 0
	if w.n < length {
		in, _ = slices.BinarySearch(w.sorted[:w.n], x)
		w.n++
	} else {
		out, in = bytes.IndexByte(w.turns[:], w.next), w.search(x)
	}
	if in > out {
		in--
		copy(w.sorted[out:in], w.sorted[out+1:in+1])
		copy(w.turns[out:in], w.turns[out+1:in+1])
	} else {
		copy(w.sorted[in+1:out+1], w.sorted[in:out])
		copy(w.turns[in+1:out+1], w.turns[in:out])
	}
	w.sorted[in], w.turns[in] = x, w.next
	w.next++
}

// age is how many readings in the window are older than sorted[i].
func (w *window) age(i int) int { return int(w.turns[i] - (w.next - uint8(w.n))) }

// search is the place of a reading in a full window: before the first that is not
// below it. It goes without a branch that could be guessed wrong: the sign of a
// difference, one bit, is the step taken. Each round cuts what is left to a
// quarter: its three readings are fetched at once, which takes half as long as
// two rounds of halving one after the other.
func (w *window) search(x float64) int {
	var i uint8
	for step := uint8(length / 4); step > 0; step /= 4 {
		i += step * (below(w.sorted[i+step-1], x) + below(w.sorted[i+2*step-1], x) + below(w.sorted[i+3*step-1], x))
	}
	return int(i) + int(below(w.sorted[i], x))
}

// below is 1 if a < b, else 0.
func below(a, b float64) uint8 { return uint8(math.Float64bits(a-b) >> 63) }

// median is that of a window that is not empty.
func (w *window) median() float64 {
	return w.sorted[(w.n-1)/2]/2 + w.sorted[w.n/2]/2
}

// deviation is the median of the distances to the median m.
func (w *window) deviation(m float64) float64 {
	// The k readings nearest to m stand side by side in sorted; they begin where
	// the first is no farther from m than the one behind the last.
	s, k := w.sorted[:w.n], (w.n+1)/2
	i := min(w.from, w.n-k)
	for i > 0 && s[i-1]/2+s[i-1+k]/2 >= m {
		i--
	}
	for i < w.n-k && s[i]/2+s[i+k]/2 < m {
		i++
	}
	w.from = i
	d := max(m-s[i], s[i+k-1]-m) // the k-th smallest distance
	if w.n%2 == 1 {
		return d
	}
	next := math.Inf(1) // the one after it
	if i > 0 {
		next = m - s[i-1]
	}
	if i+k < w.n {
		next = min(next, s[i+k]-m)
	}
	return d/2 + next/2
}

// meanDeviation is the mean distance to the median m where more than half of
// the readings equal m: only the others are added up.
func (w *window) meanDeviation(m float64) (sum float64) {
	s := w.sorted[:w.n]
	for i := 0; i < len(s) && s[i] < m; i++ {
		sum += (m - s[i]) / float64(len(s))
	}
	for i := len(s) - 1; i >= 0 && s[i] > m; i-- {
		sum += (s[i] - m) / float64(len(s))
	}
	return sum
}
