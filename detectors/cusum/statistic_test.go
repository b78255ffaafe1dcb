package cusum

import (
	"math/rand/v2"
	"testing"

	"tocsin/detectors/detectortest"
)

// BenchmarkStatistic is the chart alone, without the line it is held to.
func BenchmarkStatistic(b *testing.B) {
	r, c := rand.New(rand.NewPCG(1, 2)), New(detectortest.Learning()).(*chart)
	values := make([]float64, 1<<12)
	for i := range values {
		values[i] = r.NormFloat64()
		c.Judge(detectortest.At(i, values[i]))
	}
	for i := range b.N {
		c.statistic(values[i&(1<<12-1)])
	}
}
