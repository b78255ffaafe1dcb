package detectors

import (
	"math/rand/v2"
	"testing"
)

// Whatever the order in which its bins are used, a histogram is as if it had all
// of them, before and after a restart.
func TestCounts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 50 {
		var c Counts[float32]
		var all [bins]float32
		middle, spread := r.IntN(bins), 1+r.IntN(bins)
		for range 100 {
			i := min(max(middle+r.IntN(spread)-spread/2, 0), bins-1)
			c.Add(i, 1)
			all[i]++
		}
		c.Scale(0.75)
		state, err := c.appendTo(nil)
		if err != nil {
			t.Fatal(err)
		}
		var loaded Counts[float32]
		if rest, ok := loaded.loadFrom(append(state, "next"...)); !ok || string(rest) != "next" {
			t.Fatalf("round %d: its own state is refused, or %q is left", round, rest)
		}
		c.Add(middle, 1) // which the loaded one must not see
		first, at := loaded.Bins()
		for i, n := range all {
			got := float32(0)
			if i >= first && i < first+len(at) {
				got = at[i-first]
			}
			if got != 0.75*n {
				t.Fatalf("round %d: bin %d holds %g, want %g", round, i, got, 0.75*n)
			}
		}
	}
}
