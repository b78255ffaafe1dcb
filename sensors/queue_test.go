package sensors_test

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/sensors"
	"tocsin/sensors/sensortest"
)

var one = []sensors.Channel{{Name: "pump1.vibration", Unit: "mm/s"}}

func writer(t testing.TB, q *sensors.Queue, name string, channels ...sensors.Channel) *sensors.Writer {
	t.Helper()
	if channels == nil {
		channels = one
	}
	w, err := q.Writer(name, channels)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func value(v float64) sensors.Sample { return sensors.Sample{Value: v} }

// take gives the next batch's values without releasing it.
func take(t *testing.T, q *sensors.Queue) (*sensors.Batch, []float64) {
	t.Helper()
	b, err := q.Take(time.After(5 * time.Second))
	if err != nil || b == nil {
		t.Fatalf("Take: %v, %v", b, err)
	}
	var values []float64
	for _, s := range b.Samples {
		values = append(values, s.Value)
	}
	return b, values
}

func ledger(t *testing.T, w *sensors.Writer) {
	t.Helper()
	c := &w.Counters
	if read, judged, refused := c.Read.Load(), c.Judged.Load(), c.RefusedAll(); read != judged+refused {
		t.Errorf("%s: %d read, but %d judged + %d refused", w.Name, read, judged, refused)
	}
}

// More writers than batches, two goroutines each: everything arrives once, and
// in the order in which each goroutine put it.
func TestManyWritersKeepOrder(t *testing.T) {
	const writers, each = 8, 2000
	q := sensors.NewQueue(4, 16, 100)
	var all sync.WaitGroup
	var ws []*sensors.Writer
	for i := range writers {
		w := writer(t, q, "w", sensors.Channel{Name: string(rune('a'+i)) + ".x"}, sensors.Channel{Name: string(rune('a'+i)) + ".y"})
		ws = append(ws, w)
		for ch := range sensors.ChannelID(2) {
			all.Go(func() {
				for n := 0; n < each; {
					many := min(1+n%37, each-n)
					var samples []sensors.Sample
					for range many {
						samples = append(samples, sensors.Sample{Channel: ch, Value: float64(n)})
						n++
					}
					if err := w.Put(t.Context(), samples...); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	got := sensortest.Collect(t, q)
	all.Wait()
	q.Close()
	next := make([]float64, 2*writers)
	for _, s := range got.Drain(t) {
		if s.Value != next[s.Channel] {
			t.Fatalf("channel %d: %v came after %v", s.Channel, s.Value, next[s.Channel]-1)
		}
		next[s.Channel]++
	}
	for ch, n := range next {
		if n != each {
			t.Errorf("channel %d: %v samples, want %d", ch, n, each)
		}
	}
	for _, w := range ws {
		ledger(t, w)
	}
	if !q.Idle() {
		t.Error("batches are missing after the drain")
	}
}

// A lone sample waits one millisecond for company, no less and no longer.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(2, 8, 1)
		w := writer(t, q, "w")
		for range 2 { // the timer is made once and used again
			start := time.Now()
			if err := w.Put(t.Context(), value(1)); err != nil {
				t.Fatal(err)
			}
			b, _ := take(t, q)
			if waited := time.Since(start); waited != time.Millisecond {
				t.Errorf("handed over after %v, want 1ms", waited)
			}
			b.Release()
		}
	})
}

// A full batch does not wait.
func TestFullBatchGoesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(2, 2, 1)
		w := writer(t, q, "w")
		start := time.Now()
		if err := w.Put(t.Context(), value(1), value(2)); err != nil {
			t.Fatal(err)
		}
		if _, v := take(t, q); len(v) != 2 || time.Since(start) != 0 {
			t.Errorf("%v after %v, want two values at once", v, time.Since(start))
		}
	})
}

// Put waits while the queue is full, and goes on when a batch is released.
func TestPutWaitsAndWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(1, 2, 1)
		w := writer(t, q, "w")
		done := false
		go func() {
			if err := w.Put(t.Context(), value(1), value(2), value(3), value(4), value(5)); err != nil {
				t.Error(err)
			}
			done = true
		}()
		var got []float64
		for range 3 {
			synctest.Wait()
			b, v := take(t, q)
			got = append(got, v...)
			synctest.Wait()
			if len(got) < 4 && done {
				t.Fatal("Put did not wait for room")
			}
			b.Release()
		}
		if len(got) != 5 || got[4] != 5 {
			t.Errorf("got %v", got)
		}
	})
}

// What Put cannot deliver when its context ends is counted, not lost silently.
func TestPutGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(1, 2, 1)
		w := writer(t, q, "w")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := w.Put(ctx, value(1), value(2), value(3), value(4))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Put: %v", err)
		}
		if n := w.Counters.Refused(sensors.QueueFull); n != 2 {
			t.Errorf("%d refused, want 2", n)
		}
		got := sensortest.Collect(t, q)
		q.Close()
		got.Drain(t)
		ledger(t, w)
	})
}

// Who waits longest is served first, though another source pushes all the time.
func TestPushingSourceCannotStarveAWaitingOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(2, 1, 2)
		push, ask := writer(t, q, "push"), writer(t, q, "ask", sensors.Channel{Name: "b.x"})
		for push.Offer(0, value(1)) {
		}
		put := false
		go func() {
			if err := ask.Put(t.Context(), value(7)); err != nil {
				t.Error(err)
			}
			put = true
		}()
		synctest.Wait()
		b, _ := take(t, q)
		b.Release()
		if push.Offer(0, value(2)) {
			t.Error("the pushing source took the batch that another one waits for")
		}
		synctest.Wait()
		if !put {
			t.Error("Put still waits though a batch has come free")
		}
	})
}

// A reservation that is not used lapses: nobody else may starve by it.
func TestUnusedRoomLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(1, 1, 2)
		a, b := writer(t, q, "a"), writer(t, q, "b", sensors.Channel{Name: "b.x"})
		if err := a.Room(t.Context()); err != nil {
			t.Fatal(err)
		}
		if b.Offer(0, value(1)) {
			t.Error("the only batch is reserved, yet another source got it")
		}
		time.Sleep(2 * time.Millisecond)
		if !b.Offer(0, value(1)) {
			t.Error("the reservation has not lapsed")
		}
	})
}

func TestOfferNeverWaits(t *testing.T) {
	q := sensors.NewQueue(2, 2, 2)
	w, other := writer(t, q, "w"), writer(t, q, "other", sensors.Channel{Name: "b.x"})
	for i := range 2 {
		if !w.Offer(0, value(float64(2*i)), value(float64(2*i+1))) {
			t.Fatal("refused while there was room")
		}
	}
	if w.Offer(0, value(4)) || w.Counters.Read.Load() != 4 {
		t.Fatalf("a full queue took a sample; %d read, want 4", w.Counters.Read.Load())
	}
	if other.DropOldest() {
		t.Error("DropOldest threw away another source's readings")
	}
	if !w.DropOldest() || !w.Offer(0, value(4), value(5)) {
		t.Fatal("no room after DropOldest")
	}
	if n := w.Counters.Refused(sensors.QueueFull); n != 2 {
		t.Errorf("%d counted as dropped, want 2", n)
	}
	for _, want := range []float64{2, 4} {
		if b, v := take(t, q); v[0] != want {
			t.Errorf("got %v, want the batch that begins with %v", v, want)
		} else {
			b.Release()
		}
	}
}

// Marks are acknowledged in order, each only after everything up to it, and what
// carries a mark is never dropped.
func TestMarks(t *testing.T) {
	q := sensors.NewQueue(3, 2, 1)
	w := writer(t, q, "w")
	var acked []uint64
	w.OnJudged(func(mark uint64) { acked = append(acked, mark) })
	w.Offer(1, value(1))
	w.Offer(2, value(2), value(3)) // does not fit beside the first: a new batch
	w.Offer(3, value(math.NaN()))  // nothing to judge, still to be acknowledged
	w.Offer(4)                     // nor here
	if w.Offer(5, value(4)); !q.Idle() && w.DropOldest() {
		t.Error("DropOldest threw away a marked batch")
	}
	w.Flush()
	for i, want := range []uint64{1, 2, 5} {
		b, _ := take(t, q)
		if len(acked) != i {
			t.Fatalf("%v acknowledged before it was judged", acked)
		}
		b.Release()
		if len(acked) != i+1 || acked[i] != want {
			t.Fatalf("acknowledged %v, want %d at the end", acked, want)
		}
	}
}

// A message of which nothing could be judged is acknowledged like any other, and
// what follows without a mark neither hides nor repeats one.
func TestMarkOfNothing(t *testing.T) {
	q := sensors.NewQueue(1, 8, 1)
	w := writer(t, q, "w")
	var acked []uint64
	w.OnJudged(func(mark uint64) { acked = append(acked, mark) })
	w.Offer(7, value(math.NaN()))
	w.Offer(0)
	b, v := take(t, q)
	b.Release()
	w.Offer(0, value(1)) // in the same batch, gone round
	w.Flush()
	again, _ := take(t, q)
	again.Release()
	if len(v) != 0 || len(acked) != 1 || acked[0] != 7 {
		t.Errorf("%v judged, %v acknowledged; want none and [7]", v, acked)
	}
}

// A source that runs again counts its marks anew; those of the run before must
// not acknowledge what it has put since.
func TestMarksOfAnEarlierRun(t *testing.T) {
	q := sensors.NewQueue(3, 8, 1)
	w := writer(t, q, "w")
	var first, second []uint64
	w.OnJudged(func(mark uint64) { first = append(first, mark) })
	w.Offer(7, value(1))
	w.OnJudged(func(mark uint64) { second = append(second, mark) })
	w.Offer(1, value(2))
	w.Flush()
	for range 2 {
		b, _ := take(t, q)
		b.Release()
	}
	if len(first) != 1 || first[0] != 7 || len(second) != 1 || second[0] != 1 {
		t.Errorf("first run acknowledged %v, second %v; want [7] and [1]", first, second)
	}
}

// More than a batch holds is refused and counted, and its mark is not lost.
func TestOfferTooMuch(t *testing.T) {
	q := sensors.NewQueue(3, 2, 1)
	w := writer(t, q, "w")
	var acked uint64
	w.OnJudged(func(mark uint64) { acked = mark })
	if !w.Offer(1, value(1), value(2), value(3)) {
		t.Fatal("refused")
	}
	got := sensortest.Collect(t, q)
	q.Close()
	if n := len(got.Drain(t)); n != w.Most() || acked != 1 || w.Counters.Refused(sensors.TooLarge) != 1 {
		t.Errorf("%d judged, mark %d, %d refused; want 2, 1, 1", n, acked, w.Counters.Refused(sensors.TooLarge))
	}
	ledger(t, w)
}

func TestNotFiniteIsRefused(t *testing.T) {
	q := sensors.NewQueue(2, 8, 1)
	w := writer(t, q, "w")
	if err := w.Put(t.Context(), value(math.NaN()), value(1), value(math.Inf(1)), value(2), value(math.Inf(-1))); err != nil {
		t.Fatal(err)
	}
	if _, v := take(t, q); len(v) != 2 || v[0] != 1 || v[1] != 2 {
		t.Errorf("got %v, want [1 2]", v)
	}
	if n := w.Counters.Refused(sensors.NotFinite); n != 3 {
		t.Errorf("%d refused, want 3", n)
	}
}

// Close lets what was put be taken, and after io.EOF there is never more, even
// when sources still put.
func TestCloseLosesNothing(t *testing.T) {
	for range 200 {
		q := sensors.NewQueue(4, 4, 10)
		var sources sync.WaitGroup
		for _, name := range []string{"a.x", "b.x", "c.x"} {
			w := writer(t, q, name, sensors.Channel{Name: name})
			sources.Go(func() {
				for w.Put(t.Context(), value(1), value(2), value(3)) == nil {
				}
			})
		}
		got := sensortest.Collect(t, q)
		got.Until(time.Second, func() bool { return len(got.Samples()) > 10 })
		q.Close()
		q.Close() // twice is once
		got.Drain(t)
		sources.Wait()
		for _, w := range q.Writers() {
			ledger(t, w)
		}
		if _, err := q.Take(nil); !errors.Is(err, io.EOF) || !q.Idle() {
			t.Fatalf("after the end: %v, idle %v", err, q.Idle())
		}
	}
}

func TestCloseWakesWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(1, 1, 1)
		w := writer(t, q, "w")
		w.Offer(0, value(1))
		var put, room error
		go func() { put = w.Put(t.Context(), value(2)) }()
		go func() { room = w.Room(t.Context()) }()
		synctest.Wait()
		q.Close()
		synctest.Wait()
		if !errors.Is(put, sensors.ErrClosed) || !errors.Is(room, sensors.ErrClosed) {
			t.Errorf("Put: %v, Room: %v; want ErrClosed", put, room)
		}
	})
}

func TestTakeWakes(t *testing.T) {
	q := sensors.NewQueue(1, 1, 1)
	wake := make(chan time.Time, 1)
	wake <- time.Time{}
	if b, err := q.Take(wake); b != nil || err != nil {
		t.Errorf("Take: %v, %v; want neither", b, err)
	}
}

func TestRegister(t *testing.T) {
	q := sensors.NewQueue(2, 8, 3)
	x, y := sensors.Channel{Name: "a.x", Unit: "bar"}, sensors.Channel{Name: "a.y"}
	first := writer(t, q, "first", x, y, x) // two rows of a configuration for one channel keep their places
	second := writer(t, q, "second", sensors.Channel{Name: "b.z"})
	for range 2 { // a source that runs again finds the same
		id, err := second.Register(y)
		if err != nil || id != 1 {
			t.Fatalf("Register: %d, %v; want 1", id, err)
		}
	}
	if _, err := second.Register(sensors.Channel{Name: "b.more"}); !errors.Is(err, sensors.ErrTooManyChannels) {
		t.Errorf("Register beyond the bound: %v", err)
	}
	first.Offer(0, sensors.Sample{Channel: 2})
	second.Offer(0, sensors.Sample{Channel: 1})
	first.Flush()
	second.Flush()
	for _, want := range []sensors.Channel{x, y} {
		b, _ := take(t, q)
		if got := q.Channel(b.Samples[0].Channel); got != want {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	if n := q.NumChannels(); n != 3 {
		t.Errorf("%d channels, want 3", n)
	}
}

// Registering while others put and judge is safe; a channel is known before its
// first sample can be taken.
func TestRegisterWhileRunning(t *testing.T) {
	q := sensors.NewQueue(8, 8, 200)
	w, other := writer(t, q, "w"), writer(t, q, "other")
	got := sensortest.Collect(t, q)
	var all sync.WaitGroup
	for _, w := range []*sensors.Writer{w, other} {
		all.Go(func() {
			for i := range 99 {
				id, err := w.Register(sensors.Channel{Name: w.Name + "." + string(rune('A'+i))})
				if err != nil {
					t.Error(err)
				}
				if err := w.Put(t.Context(), sensors.Sample{Channel: id, Value: float64(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	q.Close()
	for _, s := range got.Drain(t) {
		if name := q.Channel(s.Channel).Name; []rune(name[len(name)-len(string(rune('A'+int(s.Value)))):])[0] != rune('A'+int(s.Value)) {
			t.Fatalf("the sample of %c is judged as %s", rune('A'+int(s.Value)), name)
		}
	}
}
