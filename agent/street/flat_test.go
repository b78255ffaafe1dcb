package street

import (
	"fmt"
	"slices"
	"testing"
)

// bound is a figure that may not grow for as long as the agent runs, and how
// much of a difference between its calm moments is no growth.
type bound struct {
	name    string
	of      func(figures) float64
	allowed float64
	why     string
}

// bounds are what TestSoak holds the agent to. memory is in MiB.
func bounds(memory float64) []bound {
	return []bound{
		{"memory MiB", func(f figures) float64 { return f.memory }, memory, "the heap's high water moves with what waited in an outage"},
		{"goroutines", func(f figures) float64 { return float64(f.goroutines) }, 2, "kafka-go drops an idle connection, of two goroutines, whenever it likes"},
		{"descriptors", func(f figures) float64 { return float64(f.descriptors) }, 2, "the same connection, and the file that is just being read"},
		{"threads", func(f figures) float64 { return float64(f.threads) }, 3, "Go keeps a thread for each system call that once blocked beside the others"},
		{"buffer files", func(f figures) float64 { return float64(f.files) }, 1, "a file is full"},
		{"buffer MiB", func(f figures) float64 { return f.buffer }, 2, "a file begins at half a MiB and grows in steps"},
	}
}

// growth is how much a figure grew from the first of its calm moments to the
// last: the slope of Theil (1950) and Sen (1968), the median of the slopes of all
// pairs, times the time between them. Three of ten moments may be anything.
func growth(moments []figures, of func(figures) float64) float64 {
	var slopes []float64
	for i, a := range moments {
		for _, b := range moments[i+1:] {
			slopes = append(slopes, (of(b)-of(a))/(b.at-a.at).Seconds())
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	return median(slopes) * (moments[len(moments)-1].at - moments[0].at).Seconds()
}

func median(list []float64) float64 {
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}

// warm leaves out the agent's warming up: the very first moment and the first
// tenth.
func warm(moments []figures) []figures { return moments[max(1, len(moments)/10):] }

// leaks names what grew.
func leaks(moments []figures, limits []bound) (list []string) {
	if len(moments) < 3 {
		return []string{fmt.Sprintf("%d calm moments show nothing", len(moments))}
	}
	moments = warm(moments)
	for _, b := range limits {
		if g := growth(moments, b.of); g > b.allowed {
			list = append(list, fmt.Sprintf("%s grew by %.1f from %.1f, to %.1f, where %.1f is no growth: %s",
				b.name, g, b.of(moments[0]), b.of(moments[len(moments)-1]), b.allowed, b.why))
		}
	}
	return list
}

// TestLeaks shows that what grows is seen, and that noise, an outage and warming
// up are not taken for it.
func TestLeaks(t *testing.T) {
	noise := []float64{0, 0.4, -0.3, 0.2, -0.4, 0.1, 0.3, -0.2}
	series := func(n int, change func(i int, f *figures)) (list []figures) {
		for i := range n {
			f := figures{at: seconds(30 * i), memory: 12 + noise[i%len(noise)], goroutines: 40, descriptors: 20, threads: 9, files: 2, buffer: 1}
			if change != nil {
				change(i, &f)
			}
			list = append(list, f)
		}
		return list
	}
	for _, c := range []struct {
		name    string
		moments []figures
		leaks   bool
	}{
		{"nothing", series(60, nil), false},
		{"nothing, short", series(3, nil), false},
		{"warming up", series(60, func(i int, f *figures) { f.memory += min(float64(i), 5) }), false},
		{"a moment within an outage", series(60, func(i int, f *figures) {
			if i%10 == 4 {
				f.memory, f.goroutines, f.descriptors = 30, 60, 40
			}
		}), false},
		{"a connection that comes and goes", series(60, func(i int, f *figures) { f.goroutines += i % 3; f.descriptors += i % 2 }), false},
		{"a goroutine for each of nine reloads", series(60, func(i int, f *figures) { f.goroutines += 9 * i }), true},
		{"the same, short", series(3, func(i int, f *figures) { f.goroutines += 9 * i }), true},
		{"a descriptor now and then", series(60, func(i int, f *figures) { f.descriptors += i / 10 }), true},
		{"2 KiB a second", series(60, func(i int, f *figures) { f.memory += 60. / 1024 * float64(i) }), true},
		{"a file an outage", series(60, func(i int, f *figures) { f.files += i }), true},
		{"too little to tell", series(2, nil), true},
	} {
		if found := leaks(c.moments, bounds(1.5)); len(found) > 0 != c.leaks {
			t.Errorf("%s: %v", c.name, found)
		}
	}
}
