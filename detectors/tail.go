package detectors

import (
	"encoding/binary"
	"math"
)

// tail is the peaks of a statistic's excursions, counted by size.
type tail struct {
	peaks float64         // how many are remembered
	sizes Counts[float32] // 16 bins an octave
}

const (
	lowest    = 1. / 16 // lower edge of the first bin
	shift     = 48      // a float's bits above these are its exponent and four more: 16 bins an octave
	mostPeaks = 1 << 22 // a float32 still counts by one
	fewest    = 4       // peaks that make a habit
	tailOf    = 32      // peaks that make the tail
)

// add counts a peak.
func (p *tail) add(peak, weight float64) {
	i := int(math.Float64bits(peak)>>shift) - int(math.Float64bits(lowest)>>shift)
	p.sizes.Add(min(max(i, 0), bins-1), float32(weight))
	p.peaks += weight
}

// keep forgets all but a part of every count.
func (p *tail) keep(part float64) {
	p.sizes.Scale(part)
	p.peaks *= part
}

// limit is what the statistic passes once in so many rows, when it has been
// watched for the given number. It extrapolates from the 4, 8, 16 and 32
// largest peaks, and the most cautious counts: a heavy or two-humped tail shows
// in the few largest alone. What came back four times is always inside.
func (p *tail) limit(watched, rows float64) (limit float64) {
	// One standard error of what so many peaks can show.
	wider := 1 + 1/math.Sqrt(max(p.peaks, 1))
	var count, sum float64
	first, sizes := p.sizes.Bins()
	for i, next := len(sizes)-1, float64(fewest); i >= 0 && next <= tailOf; i-- {
		n := float64(sizes[i])
		if n == 0 {
			continue
		}
		low, high := edge(first+i), edge(first+i+1)
		count += n
		sum += float64(n * (low + high) / 2)
		if count < next {
			continue
		}
		excess := float64(wider * (sum/count - low)) // half a bin at least
		limit = max(limit, high, low+float64(excess*Logarithm(float64(count*rows)/watched)))
		for next <= count {
			next *= 2
		}
	}
	return limit
}

// edge is the lower edge of a bin.
func edge(i int) float64 {
	return math.Float64frombits((uint64(i) + math.Float64bits(lowest)>>shift) << shift)
}

func (p *tail) appendTo(b []byte) ([]byte, error) {
	return p.sizes.appendTo(binary.LittleEndian.AppendUint64(b, math.Float64bits(p.peaks)))
}

func (p *tail) loadFrom(data []byte) (rest []byte, ok bool) {
	if len(data) < 8 {
		return nil, false
	}
	p.peaks = math.Float64frombits(binary.LittleEndian.Uint64(data))
	if rest, ok = p.sizes.loadFrom(data[8:]); !ok || !Within(0, countable, p.peaks) {
		return nil, false
	}
	return rest, true
}
