package sensors_test

import (
	"testing"

	"tocsin/sensors"
)

// cycle puts a frame of eight readings and, after eight frames, judges them. A
// slow machine may hand each frame over by itself: there are batches for that.
func cycle(tb testing.TB, put func(w *sensors.Writer, frame []sensors.Sample)) func() {
	q := sensors.NewQueue(16, 64, 8)
	w := writer(tb, q, "w")
	frame := make([]sensors.Sample, 8)
	n := 0
	return func() {
		put(w, frame)
		if n++; n < 8 {
			return
		}
		n = 0
		w.Flush()
		for !q.Idle() {
			b, err := q.Take(nil)
			if err != nil {
				tb.Fatal(err)
			}
			b.Release()
		}
	}
}

func put(tb testing.TB) func() {
	return cycle(tb, func(w *sensors.Writer, frame []sensors.Sample) {
		if err := w.Put(tb.Context(), frame...); err != nil {
			tb.Fatal(err)
		}
	})
}

func offer(tb testing.TB) func() {
	return cycle(tb, func(w *sensors.Writer, frame []sensors.Sample) {
		if !w.Offer(1, frame...) {
			tb.Fatal("refused")
		}
	})
}

func TestHotPathAllocatesNothing(t *testing.T) {
	for name, f := range map[string]func(){"Put": put(t), "Offer": offer(t)} {
		if n := testing.AllocsPerRun(10_000, f); n != 0 {
			t.Errorf("%s: %v allocations a frame, want 0", name, n)
		}
	}
}

func BenchmarkPutFrameOf8(b *testing.B) {
	f := put(b)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

func BenchmarkOfferFrameOf8(b *testing.B) {
	f := offer(b)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}
