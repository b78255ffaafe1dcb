package sensors_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"tocsin/sensors"
	"tocsin/sensors/sensortest"
)

// What is asked for with Then is done by the taker, after everything that was
// handed over before and before everything that comes after it, also while the
// queue is being closed; and never once it is empty for good.
func TestThenKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(4, 1, 1)
		w := writer(t, q, "w")
		var order []string
		then := func(name string) {
			if err := q.Then(func() { order = append(order, name) }); err != nil {
				t.Error(err)
			}
		}
		then("a")
		w.Offer(0, value(1))
		then("b")
		w.Offer(0, value(2))
		w.Offer(0, value(3)) // handed over as it is full
		q.Close()
		for {
			b, err := q.Take(nil)
			if err != nil {
				break
			}
			order = append(order, fmt.Sprint(b.Samples[0].Value))
			b.Release()
		}
		if want := []string{"a", "1", "b", "2", "3"}; !slices.Equal(order, want) {
			t.Errorf("%v, want %v", order, want)
		}
		if err := q.Then(func() {}); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("Then of a queue that is over: %v", err)
		}
	})
}

// A closed writer takes nothing more, whatever its source still does; what it
// had taken is judged. Its ledger balances.
func TestClosedWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := sensors.NewQueue(2, 8, 4)
		w := writer(t, q, "w")
		w.Offer(0, value(1))
		w.Close()
		if w.Offer(0, value(2)) {
			t.Error("Offer took a sample")
		}
		if err := w.Put(t.Context(), value(3), value(4)); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("Put: %v", err)
		}
		if err := w.Room(t.Context()); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("Room: %v", err)
		}
		if _, err := w.Register(sensors.Channel{Name: "late.x"}); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("Register: %v", err)
		}
		w.Flush()
		w.Close()
		got := sensortest.Collect(t, q)
		q.Close()
		if n := len(got.Drain(t)); n != 1 {
			t.Errorf("%d samples judged, want 1", n)
		}
		ledger(t, w)
		if !q.Idle() {
			t.Error("a batch is missing")
		}
	})
}

// A channel keeps its number as long as somebody feeds it; the numbers of others
// are given out again, and only channels that are fed count against the bound.
func TestNumbersAreGivenOutAgain(t *testing.T) {
	q := sensors.NewQueue(2, 8, 3)
	named := func(names ...string) (c []sensors.Channel) {
		for _, n := range names {
			c = append(c, sensors.Channel{Name: n, Unit: "bar"})
		}
		return c
	}
	first := writer(t, q, "first", named("a.x", "a.y", "a.x")...)
	second := writer(t, q, "second", named("a.y")...)
	if _, err := second.Register(sensors.Channel{Name: "a.x"}); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Register(sensors.Channel{Name: "a.x"}); err != nil { // twice counts once
		t.Fatal(err)
	}
	for range 50 {
		third, err := q.Writer("third", named("b.x"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := q.Writer("fourth", named("a.x", "c.x")); !errors.Is(err, sensors.ErrTooManyChannels) {
			t.Fatalf("a fourth channel: %v", err)
		}
		third.Close()
		q.Retire(third)
		if gone := q.Sweep(); !slices.Equal(gone, []sensors.ChannelID{2}) {
			t.Fatalf("gone: %v", gone)
		}
	}
	first.Close()
	q.Retire(first)
	if gone := q.Sweep(); gone != nil || q.NumChannels() != 2 {
		t.Errorf("%v are gone though the second feeds them", gone)
	}
	second.Close()
	q.Retire(second)
	if n := q.NumChannels(); n != 0 || q.Fed() != nil {
		t.Errorf("%d channels, %v fed", n, q.Fed())
	}
	// Who comes before the sweep finds the number as it was, and says in which unit.
	again := writer(t, q, "again", sensors.Channel{Name: "a.y", Unit: "Pa"})
	if gone := q.Sweep(); !slices.Equal(gone, []sensors.ChannelID{0}) || q.Channel(1) != (sensors.Channel{Name: "a.y", Unit: "Pa"}) {
		t.Errorf("gone %v, 1 is %v", gone, q.Channel(1))
	}
	if len(q.Writers()) != 1 || q.Writers()[0] != again {
		t.Errorf("%d writers", len(q.Writers()))
	}
}

// Reloads while other sources find channels and put: no sample is ever taken
// under another name than it was put under.
func TestSweepWhileOthersRegister(t *testing.T) {
	q := sensors.NewQueue(8, 8, 64)
	w := writer(t, q, "w", sensors.Channel{Name: "0"})
	var stop atomic.Bool
	done := make(chan struct{})
	go func() { // names are numbers, and so are the readings
		defer close(done)
		for n := 1; !stop.Load(); n++ {
			name := n % 40
			id, err := w.Register(sensors.Channel{Name: fmt.Sprint(name)})
			if err != nil {
				t.Error(err)
				return
			}
			_ = w.Put(t.Context(), sensors.Sample{Channel: id, Value: float64(name)})
		}
	}()
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			b, err := q.Take(nil)
			if err != nil {
				return
			}
			for _, s := range b.Samples {
				if got := q.Channel(s.Channel).Name; got != fmt.Sprint(s.Value) {
					t.Errorf("a sample of %v is taken as one of %q", s.Value, got)
				}
			}
			b.Release()
		}
	}()
	for i := range 200 {
		other := writer(t, q, "other", sensors.Channel{Name: fmt.Sprint(100 + i)}, sensors.Channel{Name: fmt.Sprint(i % 40)})
		for j, name := range []int{100 + i, i % 40} {
			_ = other.Put(t.Context(), sensors.Sample{Channel: sensors.ChannelID(j), Value: float64(name)})
		}
		other.Close()
		turned := make(chan struct{})
		if err := q.Then(func() { q.Retire(other); q.Sweep(); close(turned) }); err != nil {
			t.Fatal(err)
		}
		<-turned
	}
	stop.Store(true)
	<-done
	q.Close()
	<-over
}

// What is carried on may be more than an int of a 32-bit gateway holds.
func TestCountersCarryOn(t *testing.T) {
	var was, is sensors.Counters
	for range 3 {
		was.Refuse(sensors.BadQuality, math.MaxInt32)
	}
	is.CarryOn(&was)
	if got, want := is.Refused(sensors.BadQuality), uint64(3*math.MaxInt32); got != want {
		t.Errorf("refused %d, carried on %d", want, got)
	}
}
