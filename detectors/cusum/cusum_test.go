package cusum_test

import (
	"math/rand/v2"
	"testing"

	"tocsin/detectors"
	"tocsin/detectors/cusum"
	"tocsin/detectors/detectortest"
)

func TestContract(t *testing.T) { detectortest.RunLearned(t, cusum.New) }

// However long a shift lasted, its end clears the alarm soon; and its beginning
// alone is a change point.
func TestShiftBeginsAndEnds(t *testing.T) {
	d, r := cusum.New(detectortest.Learning()), rand.New(rand.NewPCG(1, 1))
	const from, to = 3000, 5500
	changes, cleared := 0, 0
	for i := range to + 500 {
		x := r.NormFloat64()
		if i >= from && i < to {
			x -= 3
		}
		v := d.Judge(detectortest.At(i, x))
		if v.Change {
			changes++
			if v.Reason != detectors.MeanLower || i < from || i > from+20 {
				t.Errorf("change at row %d, %q", i, v.Reason.Phrase())
			}
		}
		if i >= to && cleared == 0 && v.Score < detectors.Line {
			cleared = i
		}
	}
	if changes != 1 || cleared == 0 || cleared > to+100 {
		t.Errorf("%d changes; cleared at row %d of %d", changes, cleared, to)
	}
}
