// Package sensortest is the contract that every sensors.Source keeps, as tests,
// and the judge that stands in for the detectors in a source's own tests.
package sensortest

import (
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tocsin/sensors"
)

// Device is the far end of a source under test, with the ways to move it. It is
// up when New returns it.
type Device struct {
	// Name is what an error about the device must contain: its address, its path.
	Name string
	// Feed makes the device say these readings, in order, and returns when it has
	// said them. Channel is an index into Case.Channels; values are multiples of
	// 0.25 from 1 to 20 000, times whole milliseconds. Nil where the source makes
	// its own readings: nothing then is known of what arrives.
	Feed func(t testing.TB, readings []sensors.Sample)
	// Bad makes the device say readings that must be refused and returns how many
	// they were. Nil where the protocol cannot carry one.
	Bad func(t testing.TB) int
	// Break makes the device unreachable, Mend makes it reachable again. Nil where
	// it cannot be.
	Break, Mend func(t testing.TB)
	// Touched reports whether anybody has reached for the device. Nil where that
	// cannot be told.
	Touched func() bool
}

// Case is one kind of source.
type Case struct {
	// New makes a source and its device, new for each test.
	New func(t *testing.T) (sensors.Source, *Device)
	// Channels is what the source reads, in its own order. Where Found is set,
	// they become known only while it runs.
	Channels []sensors.Channel
	Found    bool
	// Polled says that the device is asked: it says the same again and again until
	// it is fed something else.
	Polled bool
	// Times says that the device gives the time of each reading, which must then say
	// so by sensors.DeviceTime.
	Times bool
	// Patience is how long a reading may take to arrive, also after the device was
	// mended; default 5 s.
	Patience time.Duration
}

// Run tests one kind of source against the contract of sensors.Source.
func Run(t *testing.T, c Case) {
	if c.Patience == 0 {
		c.Patience = 5 * time.Second
	}
	t.Run("channels", c.channels)
	t.Run("readings", c.readings)
	t.Run("refused", c.refused)
	t.Run("stops", c.stops)
	t.Run("broken at the start", c.brokenFirst)
	t.Run("broken while running", c.brokenLater)
	t.Run("nobody judges", func(t *testing.T) { c.nobodyJudges(t, false) })
	t.Run("somebody judges again", func(t *testing.T) { c.nobodyJudges(t, true) })
}

// channels: they are known without the device, and asking starts nothing.
func (c Case) channels(t *testing.T) {
	s, d := c.New(t)
	want := c.Channels
	if c.Found {
		want = nil
	}
	before := runtime.NumGoroutine()
	got := slices.Clone(s.Channels())
	if !slices.Equal(got, want) {
		t.Errorf("Channels() = %v, want %v", got, want)
	}
	if d.Touched != nil && d.Touched() {
		t.Error("Channels() has touched the device")
	}
	if d.Break != nil {
		d.Break(t)
	}
	if again := s.Channels(); !slices.Equal(again, got) {
		t.Errorf("Channels() = %v the second time, %v the first", again, got)
	}
	settle(t, before, "Channels() started goroutines")
}

// readings: each arrives once, in order, on its own channel.
func (c Case) readings(t *testing.T) {
	f := c.start(t)
	if f.dev.Feed == nil {
		f.Wait(t, 2, c.Patience)
		f.finish()
		return
	}
	f.awake()
	skip := len(f.Samples())
	frames := 200
	if c.Polled {
		frames = 5
	}
	var sent []sensors.Sample
	for range frames {
		sent = append(sent, f.frame()...)
	}
	if c.Polled { // asked: one frame must be seen before the next is shown
		for _, chunk := range slices.Collect(slices.Chunk(sent, len(c.Channels))) {
			f.feed(chunk)
			f.arrives(chunk)
		}
	} else {
		f.feed(sent)
		f.arrives(sent[len(sent)-len(c.Channels):])
	}
	f.finish()
	f.compare(f.Samples()[skip:], sent)
}

// refused: bad readings are counted and never judged, good ones go on.
func (c Case) refused(t *testing.T) {
	f := c.start(t)
	if f.dev.Bad == nil || f.dev.Feed == nil {
		t.Skip("this device cannot say anything bad")
	}
	f.awake()
	before := f.Writer.Counters.RefusedAll()
	n := f.dev.Bad(t)
	frame := f.frame()
	f.feed(frame)
	f.arrives(frame)
	if got := f.Writer.Counters.RefusedAll() - before; got < uint64(n) || !c.Polled && got != uint64(n) {
		t.Errorf("%d readings refused, want %d", got, n)
	}
	f.finish()
}

// stops: soon after the context ended, with every goroutine.
func (c Case) stops(t *testing.T) {
	s, d := c.New(t)
	before := runtime.NumGoroutine()
	r := start(t, s, 64, 64)
	f := &fixture{T: t, Case: c, Running: r, dev: d}
	r.Collected = Collect(t, r.Queue)
	f.awake()
	r.Stop(t)
	r.Drain(t)
	settle(t, before, "goroutines of the source outlive Run")
}

// brokenFirst: the device is away at the start and comes.
func (c Case) brokenFirst(t *testing.T) {
	s, d := c.New(t)
	if d.Break == nil || d.Mend == nil {
		t.Skip("this device cannot break")
	}
	d.Break(t)
	r := Start(t, s)
	f := &fixture{T: t, Case: c, Running: r, dev: d}
	f.mended()
}

// brokenLater: the device goes away in the middle and comes back.
func (c Case) brokenLater(t *testing.T) {
	f := c.start(t)
	if f.dev.Break == nil || f.dev.Mend == nil {
		t.Skip("this device cannot break")
	}
	f.awake()
	f.dev.Break(t)
	f.mended()
}

// nobodyJudges: the queue fills; the source neither grows nor hangs, can still be
// stopped, and goes on when somebody judges again.
func (c Case) nobodyJudges(t *testing.T, again bool) {
	s, d := c.New(t)
	room := 16 * max(1, len(c.Channels))
	r := start(t, s, 4, room)
	f := &fixture{T: t, Case: c, Running: r, dev: d}
	f.heard()
	var halfway atomic.Int64
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		for i := range 40 {
			if i == 20 {
				halfway.Store(int64(runtime.NumGoroutine()))
			}
			f.flood(20)
		}
	}()
	select {
	case <-fed:
		if n := int64(runtime.NumGoroutine()); n > halfway.Load()+10 {
			t.Errorf("goroutines grow while nobody judges: %d, then %d", halfway.Load(), n)
		}
	case <-time.After(c.Patience): // the device itself waits, as it may
		again = false
	}
	f.read(uint64(4*room)+1, 500*time.Millisecond) // more than there is room for; not all sources try
	if again {
		r.Collected = Collect(t, r.Queue)
		f.awake()
		r.Stop(t)
	} else {
		r.Stop(t)
		r.Collected = Collect(t, r.Queue)
	}
	r.Drain(t)
	<-fed
	f.Ledger(t)
}

// settle fails the test when the number of goroutines stays above before.
func settle(t *testing.T, before int, what string) {
	t.Helper()
	for end := time.Now().Add(soon); runtime.NumGoroutine() > before; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			stacks = stacks[:runtime.Stack(stacks, true)]
			t.Fatalf("%s: %d before, %d after\n%s", what, before, runtime.NumGoroutine(), stacks)
		}
	}
}

// named reports whether the error says which device it is about.
func named(err error, device string) bool {
	return device == "" || strings.Contains(err.Error(), device)
}
