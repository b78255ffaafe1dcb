package detectors_test

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/detectors"
)

// faulty is a series with something added from a row on.
func faulty(value func(int) float64, from int, fault func(since int) float64) func(int) float64 {
	return func(i int) float64 {
		if i < from {
			return value(i)
		}
		return value(i) + fault(i-from)
	}
}

// delays lists, for each detector, after how many rows of the fault it alarmed.
func delays(found []alarm, from int) map[string]int {
	first := map[string]int{}
	for _, a := range found {
		if d := a.row - from; d >= 0 {
			if was, ok := first[a.detector]; !ok || d < was {
				first[a.detector] = d
			}
		}
	}
	return first
}

func TestFinds(t *testing.T) {
	const from = 30_000
	for _, c := range []struct {
		fault string
		add   func(since int) float64
		by    string
		most  int // rows
	}{
		{"a lasting shift of 3 sigma", func(int) float64 { return 3 }, "ewma", 40},
		{"a lasting shift of 3 sigma", func(int) float64 { return 3 }, "cusum", 20},
		{"a lasting shift of 1.5 sigma", func(int) float64 { return 1.5 }, "cusum", 60},
		{"a drift of 1 sigma in 1,000 rows", func(i int) float64 { return float64(i) / 1000 }, "ewma", 3000},
		{"a drift of 1 sigma in 1,000 rows", func(i int) float64 { return float64(i) / 1000 }, "cusum", 3000},
		{"a drift of 1 sigma in 10,000 rows", func(i int) float64 { return float64(i) / 10000 }, "cusum", 25000},
		{"a spike of 9 sigma", func(i int) float64 { return float64(9 * (1 - min(i, 1))) }, "robust_z", 0},
		{"a jump there and back of 12 sigma", func(i int) float64 { return float64(12 * (1 - min(i, 1))) }, "rate", 1},
	} {
		for seed := range uint64(3) {
			n := from + c.most + 1
			found := run(defaults, faulty(recorded(white, seed, n), from, c.add), n, time.Second)
			got, ok := delays(found, from)[c.by]
			if !ok || got > c.most {
				t.Errorf("%s, seed %d: %s found it after %d rows (%t), want at most %d", c.fault, seed, c.by, got, ok, c.most)
			}
		}
	}
}

// A value six standard deviations out, once every 997 rows, is found when one
// false alarm in 20,000 rows is allowed, most of the time.
func TestFindsSixSigmaSpikes(t *testing.T) {
	const n, every = 60_000, 997
	value := recorded(white, 9, n)
	d := set(detectors.Learning{Ready: 300, FalseAlarmRows: 20000})["robust_z"]
	spikes, hit := 0, 0
	for i := range n {
		w := detectors.Window{Time: int64(i), Value: value(i)}
		spike := i > 20_000 && spikes < 7 && i%every == 0
		if spike {
			w.Value = 6
			spikes++
		}
		if v := d.Judge(w); v.Score >= detectors.Line && spike {
			hit++
		}
	}
	if hit < spikes-1 {
		t.Errorf("found %d of %d", hit, spikes)
	}
}

// Growing vibration: an rms value with a load cycle, doubling every day once
// the bearing begins to fail.
func TestFindsGrowingVibration(t *testing.T) {
	const n, from = 60_000, 30_000
	noise := recorded(autoregressive(.8), 3, n)
	cycle := sine(100)
	rms := func(i int) float64 {
		healthy := 2 + float64(.3*cycle(i)) + float64(.1*noise(i))
		if i > from {
			healthy *= math.Exp2(float64(i-from) / 8640)
		}
		return healthy
	}
	found := run(defaults, rms, n, 10*time.Second)
	got := delays(found, from)
	if len(found) == 0 || slices.ContainsFunc(found, func(a alarm) bool { return a.row < from }) {
		t.Fatalf("false or no alarms: %v", found)
	}
	if after, ok := got["cusum"]; !ok || after > 2000 { // by then it has grown by 17 %
		t.Errorf("cusum after %d rows (%t), %v", after, ok, got)
	}
}

// The unit and the sign of a reading are conventions: they change no alarm.
func TestUnitsDoNotMatter(t *testing.T) {
	const n = 20_000
	base := faulty(recorded(autoregressive(.5), 4, n), 15_000, func(i int) float64 {
		return float64(i%2000/1900) * 12 // now and then something, to have alarms to compare
	})
	want := run(defaults, base, n, time.Second)
	if len(want) == 0 {
		t.Fatal("nothing to compare")
	}
	order := func(a, b alarm) int {
		return cmp.Or(strings.Compare(a.detector, b.detector), cmp.Compare(a.row, b.row))
	}
	slices.SortFunc(want, order)
	for name, f := range map[string]func(float64) float64{
		"scaled up":   func(x float64) float64 { return x * 0x1p20 },
		"scaled down": func(x float64) float64 { return x * 0x1p-20 },
		"negated":     func(x float64) float64 { return -x },
		"shifted":     func(x float64) float64 { return x + 1000 },
		"by 1e6":      func(x float64) float64 { return x * 1e6 },
		"by 1e-6":     func(x float64) float64 { return x * 1e-6 },
	} {
		got := run(defaults, func(i int) float64 { return f(base(i)) }, n, time.Second)
		slices.SortFunc(got, order)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// A regime that lasts is an alarm for as long as was learned before it, then
// the new normal: neither forgotten in silence nor told of for ever.
func TestLastingRegime(t *testing.T) {
	const from, n = 3000, 30_000
	for _, name := range []string{"ewma", "cusum"} {
		d, frozen := set(defaults)[name], set(defaults)[name]
		value := faulty(recorded(white, 6, n), from, func(int) float64 { return 5 })
		during, late, always := 0, 0, 0
		for i := range n {
			if i == from {
				frozen.Freeze()
			}
			w := detectors.Window{Time: int64(i) * 1e9, Value: value(i)}
			at := d.Judge(w).Score >= detectors.Line
			if at && i >= from+50 && i < 2*from {
				during++
			}
			if at && i >= n-10_000 {
				late++
			}
			if frozen.Judge(w).Score >= detectors.Line && i >= from+50 {
				always++
			}
		}
		if during != from-50 {
			t.Errorf("%s: alarm in %d of the first %d rows of the new regime", name, during, from-50)
		}
		if late > 0 {
			t.Errorf("%s: still alarmed in %d of the last 10,000 rows", name, late)
		}
		if always != n-from-50 {
			t.Errorf("%s, frozen: alarm in %d of %d rows", name, always, n-from-50)
		}
	}
}
