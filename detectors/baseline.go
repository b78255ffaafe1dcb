package detectors

import (
	"encoding/binary"
	"math"
)

// Baseline is the usual level and spread of a channel, learned in one pass.
//
// It starts from the median and the median absolute deviation of its first 16
// readings; after that a reading counts for at most three standard deviations
// (Huber 1964, Ann. Math. Stat. 35:73). The zero value has seen nothing. It is a
// part of a State; it allocates once, at its first reading.
type Baseline struct {
	baseline
	first []float64 // readings in order of size, until it has started
}

// baseline is what outlives a restart; its fields are exported for
// encoding/binary, too.
type baseline struct {
	Mean, Variance float64
	Spread         float64 // the standard deviation, as of the last block
	Inverse        float64 // of Spread; 0 where that is 0
	Wander         float64 // how far the mean of a long block lies from the usual, in standard deviations
	Started        bool
	Blocks         [scales]block
}

// block gathers readings, in standard deviations from the usual, into means of
// 16, 64, 256 … and remembers the mean square of those means.
type block struct {
	Sum    float64
	In     uint32 // readings or smaller blocks gathered
	Ended  uint32
	Square float64
}

const (
	start   = 16 // readings until it starts
	scales  = 3
	quarter = 4 // blocks in the next larger one
	wanted  = 6 // blocks of a size, before its mean square counts
)

// Deviation is how far x lies from the usual, in standard deviations and
// clipped to ±bound; 0 until the baseline has started, and where nothing has
// ever moved.
func (b *Baseline) Deviation(x, bound float64) float64 {
	return clip(float64((clip(x, most)-b.Mean)*b.Inverse), bound)
}

// Learn takes x in with a weight, as Calibration.Rate gives it.
func (b *Baseline) Learn(x, weight float64) {
	x = clip(x, most)
	if !b.Started {
		b.begin(x)
		return
	}
	if weight == 0 {
		return
	}
	d := x - b.Mean
	if b.Spread > 0 {
		d = clip(d, 3*b.Spread)
	}
	b.Mean += float64(weight * d)
	b.Variance += float64(weight * (float64(d*d) - b.Variance))
	if b.gather(float64(d*b.Inverse), weight) || b.Spread == 0 {
		b.refresh()
	}
}

// refresh derives the spread from the variance; one too small to divide by is 0.
func (b *Baseline) refresh() {
	b.Spread, b.Inverse = math.Sqrt(b.Variance), 0
	if b.Spread < least {
		b.Spread = 0
		return
	}
	b.Inverse = 1 / b.Spread
}

const (
	most  = 1e150 // a larger reading counts as this: its square is finite
	least = 1e-150
)

// clip bounds |x|. Comparisons that hardly ever come out otherwise are cheaper
// than min and max, which must think of NaN and of -0.
func clip(x, bound float64) float64 {
	if x > bound {
		return bound
	}
	if x < -bound {
		return -bound
	}
	return x
}

// Sound reports whether the state can be a baseline's.
func (b *baseline) Sound() bool {
	for _, k := range b.Blocks {
		if !Within(0, 1<<20, k.Square) || !Within(-1<<20, 1<<20, k.Sum) {
			return false
		}
	}
	return Within(-most, most, b.Mean) && Within(0, 2*most*most, b.Variance) &&
		(b.Spread == 0 && b.Inverse == 0 || Within(least, 2*most, b.Spread) && b.Inverse == 1/b.Spread) && Within(0, 1<<10, b.Wander)
}

// gather measures the wander: batch means, as in simulation output analysis
// (Conway 1963, Management Science 10:47), at the largest size of which there
// are enough. For independent readings it goes to 0 as they grow more. It falls
// no faster than everything else is learned, so that a line can follow. It
// reports the end of a smallest block.
func (b *Baseline) gather(z, weight float64) bool {
	full, rows := uint32(start), 1.0
	for i := range b.Blocks {
		k := &b.Blocks[i]
		k.Sum += z
		if k.In++; k.In < full {
			break
		}
		z = k.Sum / float64(k.In)
		k.Sum, k.In = 0, 0
		square := float64(z * z)
		if k.Ended++; k.Ended > wanted {
			square = min(square, float64(9*k.Square))
		}
		rows *= float64(full)
		gain := min(max(float64(rows*weight), 1/float64(k.Ended)), 1)
		k.Square += float64(gain * (square - k.Square))
		full = quarter
	}
	if b.Blocks[0].In != 0 {
		return false
	}
	top := 0
	for top+1 < scales && b.Blocks[top+1].Ended >= wanted {
		top++
	}
	wander := math.Sqrt(b.Blocks[top].Square)
	if fall := float64(16 * weight); wander < b.Wander && fall < 1 {
		wander = b.Wander + float64(fall*(wander-b.Wander))
	}
	b.Wander = wander
	return true
}

// begin gathers the first readings in order of size, and with the last starts.
func (b *Baseline) begin(x float64) {
	if b.first == nil {
		b.first = make([]float64, 0, start)
	}
	b.first = insert(b.first, x)
	if len(b.first) < start {
		return
	}
	b.Mean = middle(b.first)
	var room [start]float64
	off := room[:0]
	for _, v := range b.first {
		off = insert(off, math.Abs(v-b.Mean))
	}
	spread := 1.4826 * middle(off)
	b.Variance = float64(spread * spread)
	b.refresh()
	b.Started, b.first = true, nil
}

// insert puts x where it belongs in an ordered list that has room for it.
func insert(list []float64, x float64) []float64 {
	i := len(list)
	list = list[:i+1]
	for ; i > 0 && list[i-1] > x; i-- {
		list[i] = list[i-1]
	}
	list[i] = x
	return list
}

// middle is the median of the ordered first readings.
func middle(list []float64) float64 { return list[start/2-1]/2 + list[start/2]/2 }

// appendTo writes the state and the first readings, with their number before them.
func (b *Baseline) appendTo(to []byte) ([]byte, error) {
	to, err := binary.Append(to, binary.LittleEndian, &b.baseline)
	if err != nil {
		return nil, err
	}
	return binary.Append(append(to, byte(len(b.first))), binary.LittleEndian, b.first)
}

// loadFrom reads what appendTo wrote, into memory of its own.
func (b *Baseline) loadFrom(data []byte) (rest []byte, ok bool) {
	if rest, ok = load(data, &b.baseline); !ok || len(rest) == 0 || int(rest[0]) >= start {
		return nil, false
	}
	if b.first = nil; rest[0] > 0 {
		b.first = make([]float64, rest[0], start)
	}
	read, err := binary.Decode(rest[1:], binary.LittleEndian, b.first)
	if err != nil || !Within(-most, most, b.first...) || b.Started && len(b.first) > 0 {
		return nil, false
	}
	return rest[1+read:], true
}

// Around is level ± half, with an overflow turned to an open side.
func Around(level, half float64) (low, high float64) {
	if math.IsNaN(half) || math.IsInf(half, 0) {
		return math.Inf(-1), math.Inf(1)
	}
	half = float64(half) // of a product: not to be fused with the sum
	return level - half, level + half
}
