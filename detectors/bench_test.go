package detectors_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/detectors/cusum"
	"tocsin/detectors/ewma"
	"tocsin/detectors/mad"
	"tocsin/detectors/rate"
	"tocsin/detectors/silence"
	"tocsin/detectors/stuck"
)

// defaults is what a new site runs with.
var defaults = detectors.Learning{Ready: 300, FalseAlarmRows: 20000, FalseAlarmEvery: 30 * 24 * time.Hour}

// set is the learned detectors of a new site, by name.
func set(l detectors.Learning) map[string]detectors.Learner {
	return map[string]detectors.Learner{
		"ewma": ewma.New(l), "robust_z": mad.New(l), "cusum": cusum.New(l), "rate": rate.New(l, 0),
		"stuck": stuck.New(0, l), "silence": silence.New(0),
	}
}

func BenchmarkJudge(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 1<<16)
	for i := range values {
		values[i] = 20 + r.NormFloat64()
	}
	for _, name := range []string{"ewma", "cusum", "robust_z", "rate", "stuck", "silence"} {
		b.Run(name, func(b *testing.B) {
			d := set(defaults)[name]
			b.ReportAllocs()
			for i := range b.N {
				t := int64(i) * int64(10*time.Millisecond)
				d.Judge(detectors.Window{Time: t, Arrived: t, Value: values[i&(1<<16-1)]})
			}
		})
	}
}
