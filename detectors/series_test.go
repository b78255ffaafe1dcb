package detectors_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detectors"
)

// series is one kind of reading, as a function of the row.
type series func(r *rand.Rand) func(i int) float64

func white(r *rand.Rand) func(int) float64 {
	return func(int) float64 { return r.NormFloat64() }
}

func autoregressive(phi float64) series {
	return func(r *rand.Rand) func(int) float64 {
		x, rest := r.NormFloat64(), math.Sqrt(1-phi*phi)
		return func(int) float64 {
			x = float64(phi*x) + float64(rest*r.NormFloat64())
			return x
		}
	}
}

// student3 is Student's t with three degrees of freedom: a variance, no kurtosis.
func student3(r *rand.Rand) func(int) float64 {
	return func(int) float64 {
		a, b, c := r.NormFloat64(), r.NormFloat64(), r.NormFloat64()
		return r.NormFloat64() / math.Sqrt((a*a+b*b+c*c)/3)
	}
}

func exactly(f func(i int) float64) series {
	return func(*rand.Rand) func(int) float64 { return f }
}

func noisy(f func(i int) float64, sigma float64) series {
	return func(r *rand.Rand) func(int) float64 {
		return func(i int) float64 { return f(i) + float64(sigma*r.NormFloat64()) }
	}
}

func sine(period int) func(int) float64 {
	return func(i int) float64 { return math.Sin(2 * math.Pi * float64(i%period) / float64(period)) }
}

func square(period int) func(int) float64 {
	return func(i int) float64 { return float64(i % period / (period / 2)) }
}

// load idles at 20, runs up to 25, stays there and comes down again.
func load(period int) func(int) float64 {
	return func(i int) float64 {
		part := float64(i%period) / float64(period)
		return 20 + 5*min(1, max(0, min((part-.6)*20, (.9-part)*20)))
	}
}

// alarm is one episode: neighbouring rows at the line.
type alarm struct {
	detector string
	row      int
}

// run judges n rows, read every so often, with the whole set and lists the
// episodes. Rows at the line less than 50 apart are one episode.
func run(l detectors.Learning, value func(i int) float64, n int, every time.Duration) (found []alarm) {
	for name, d := range set(l) {
		last := -50
		judge := func(i int, v detectors.Verdict) {
			if v.Score < detectors.Line {
				return
			}
			if i-last >= 50 {
				found = append(found, alarm{name, i})
			}
			last = i
		}
		values := value
		for i := range n {
			at := int64(i) * int64(every)
			judge(i, d.Judge(detectors.Window{Time: at, Arrived: at, Value: values(i)}))
			if ticker, ok := d.(detectors.Ticker); ok && i%100 == 0 {
				judge(i, ticker.Tick(at+int64(every)))
			}
		}
	}
	return found
}

// recorded is the first n values of a series, so that every detector sees the same.
func recorded(s series, seed uint64, n int) func(int) float64 {
	f := s(rand.New(rand.NewPCG(seed, 11)))
	values := make([]float64, n)
	for i := range values {
		values[i] = f(i)
	}
	return func(i int) float64 { return values[i] }
}

func rows(t *testing.T, n int) int {
	t.Helper()
	if testing.Short() {
		return n / 10
	}
	return n
}
