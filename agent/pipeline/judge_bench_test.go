package pipeline

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/detectors/cusum"
	"tocsin/detectors/ewma"
	"tocsin/detectors/mad"
	"tocsin/detectors/rate"
	"tocsin/detectors/silence"
	"tocsin/detectors/stuck"
	"tocsin/detectors/threshold"
	"tocsin/sensors"
	"tocsin/uplink"
)

// seven watches a channel with every statistical detector, as a new site does.
func seven(c sensors.Channel) Watch {
	l := detectors.Learning{Ready: 300, FalseAlarmRows: 80_000, FalseAlarmEvery: 120 * 24 * time.Hour}
	return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{
		threshold.New(threshold.Limits{HighHigh: math.Inf(1), High: 1000, Low: math.Inf(-1), LowLow: math.Inf(-1)}),
		ewma.New(l), mad.New(l), cusum.New(l), rate.New(l, 0), stuck.New(0, l), silence.New(0),
	}}
}

// judging is a judge of that many channels and the writer that feeds it.
func judging(tb testing.TB, channels int) (*Judge, *sensors.Writer) {
	tb.Helper()
	q := sensors.NewQueue(8, 256, channels)
	list := make([]sensors.Channel, channels)
	for i := range list {
		list[i] = sensors.Channel{Name: fmt.Sprintf("m%d.c%d", i%5, i), Unit: "mm/s"}
	}
	w, err := q.Writer("test", list)
	if err != nil {
		tb.Fatal(err)
	}
	emit := func(uplink.Record, uplink.Entry) { tb.Error("an alarm of healthy readings") }
	j := &Judge{Queue: q, Log: slog.New(slog.DiscardHandler), Restored: alarms.Restore(nil), Watch: seven,
		Bell: alarms.NewBell(alarms.Settings{Update: time.Hour}, alarms.Origin{Device: "gw"}, 1, 1, emit)}
	return j, w
}

// healthy lets the judge judge the next reading each time it is called: 10,000 a
// second, of one channel after the other.
func healthy(j *Judge, w *sensors.Writer) (next func()) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 1<<12)
	for i := range values {
		values[i] = 20 + r.NormFloat64()
	}
	channels := j.Queue.NumChannels()
	each := int64(time.Second) * int64(channels) / 10_000
	n := 0
	return func() {
		s := sensors.Sample{Channel: sensors.ChannelID(n % channels), Time: 1e18 + int64(n/channels)*each, Value: values[n*7919%len(values)]}
		j.sample(&s, s.Time, w)
		n++
	}
}

// TestMemoryOfAChannel holds what a channel costs with seven detectors that have
// learned: a gateway of 256 MiB watches thousands.
func TestMemoryOfAChannel(t *testing.T) {
	const channels, usual = 200, 5400 // bytes
	next := healthy(judging(t, channels))
	held := func() float64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc) / channels
	}
	before := held()
	for range 1000 * channels {
		next()
	}
	if got := held() - before; got > 1.2*usual || got < 0.8*usual {
		t.Errorf("a channel holds %.0f bytes, want about %d", got, usual)
	}
	next() // so that the judge is still held
}

// BenchmarkJudge is the cost of judging one reading with seven detectors where
// so many channels take turns: what one channel's detectors know has left the
// processor's caches when its turn comes again.
func BenchmarkJudge(b *testing.B) {
	for _, channels := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint(channels, " channels"), func(b *testing.B) {
			next := healthy(judging(b, channels))
			for range 320 * channels { // every detector has learned
				next()
			}
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				next()
			}
		})
	}
}
