package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/detectors/ewma"
	"tocsin/detectors/silence"
	"tocsin/detectors/threshold"
	"tocsin/sensors"
)

// reads is a source that a test writes down: its channels, and its runs.
type reads struct {
	channels []sensors.Channel
	run      func(ctx context.Context, out *sensors.Writer) error
}

func (r reads) Channels() []sensors.Channel                        { return r.channels }
func (r reads) Run(ctx context.Context, out *sensors.Writer) error { return r.run(ctx, out) }
func waits(ctx context.Context, _ *sensors.Writer) error           { <-ctx.Done(); return nil }
func source(name string, run func(context.Context, *sensors.Writer) error, channels ...string) *Source {
	r := reads{run: run}
	for _, c := range channels {
		r.channels = append(r.channels, sensors.Channel{Name: c})
	}
	return &Source{Name: name, Source: r}
}

// counts is a detector that learns how many readings there were.
type counts struct{ n byte }

func (c *counts) Judge(detectors.Window) detectors.Verdict { c.n++; return detectors.Verdict{} }
func (c *counts) Traits() detectors.Traits                 { return detectors.Traits{Name: "counts"} }
func (c *counts) Freeze()                                  {}
func (c *counts) AppendBinary(b []byte) ([]byte, error)    { return append(b, c.n), nil }
func (c *counts) UnmarshalBinary(b []byte) error           { c.n = b[0]; return nil }

// limited is judged by a limit of 100 alone.
func limited(c sensors.Channel) Watch {
	return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{threshold.New(limit100)}, Settings: []any{limit100}}
}

// running is a street at work, and how to end it.
type running struct {
	*Street
	disk *disk
	stop func()
}

func start(t *testing.T, watch func(sensors.Channel) Watch, sources ...*Source) *running {
	t.Helper()
	s, d := build(t, nil)
	s.Queue = sensors.NewQueue(8, 16, 8)
	s.Judge.Queue, s.Judge.Watch, s.Judge.Fixed, s.Sources = s.Queue, watch, true, sources
	for _, source := range sources {
		var err error
		if source.Writer, err = s.Queue.Writer(source.Name, source.Channels()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); s.Run(ctx) }()
	synctest.Wait()
	return &running{s, d, func() { cancel(); <-over }}
}

func (r *running) change(t *testing.T, c Change) map[string]Kept {
	t.Helper()
	c.Alarms.Update = 100 * time.Hour
	c.Fixed = !slices.ContainsFunc(c.Start, func(s *Source) bool { return s.Finds })
	kept, err := r.Change(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// story is what was told of each channel, and the alarms' numbers.
func (r *running) story() (words []string) {
	r.disk.mu.Lock()
	defer r.disk.mu.Unlock()
	for _, e := range r.disk.records {
		words = append(words, fmt.Sprintf("%s %s %d", e.Subject, e.State, e.Alarm))
	}
	return words
}

// Whatever else is reloaded, a source whose settings are what they were is not
// touched: it pushes, and every reading is judged. The one that is reloaded
// carries its ledger on.
func TestUnchangedSourceLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var runs, offered, given uint64
		push := func(ctx context.Context, out *sensors.Writer) error {
			for runs++; ctx.Err() == nil; time.Sleep(100 * time.Microsecond) {
				if !out.Offer(0, sensors.Sample{Time: sensors.Steady(), Value: 1}) {
					t.Error("no room")
				}
				offered++
			}
			return nil
		}
		give := func(ctx context.Context, out *sensors.Writer) error {
			for ctx.Err() == nil {
				if out.Put(ctx, sensors.Sample{Time: sensors.Steady(), Value: 1}, sensors.Sample{Value: 2}) == nil {
					given += 2
				}
				time.Sleep(time.Millisecond)
			}
			return nil
		}
		r := start(t, limited, source("push", push, "a.x"), source("ask", give, "b.x"))
		for i := range 50 {
			time.Sleep(3 * time.Millisecond)
			r.change(t, Change{Stop: []string{"ask"}, Start: []*Source{source("ask", give, "b.x")}, Watch: limited,
				Same: func(c sensors.Channel) bool { return i%2 == 0 || c.Name == "a.x" }})
		}
		time.Sleep(3 * time.Millisecond)
		r.stop()
		if c := &r.All()[0].Writer.Counters; runs != 1 || c.Read.Load() != offered || c.Judged.Load() != offered || offered < 1500 {
			t.Errorf("%d runs, %d offered, %d read, %d judged", runs, offered, c.Read.Load(), c.Judged.Load())
		}
		if c := &r.All()[1].Writer.Counters; c.Read.Load() != given || c.Judged.Load() != given || given < 50 {
			t.Errorf("%d given, %d read, %d judged", given, c.Read.Load(), c.Judged.Load())
		}
		if n := len(r.Queue.Writers()); n != 2 {
			t.Errorf("%d writers, want 2", n)
		}
	})
}

// A limit changes while an alarm of a learned detector is active: that one goes
// on as it is, with what it learned and its alarm, which is cleared once.
func TestDetectorsKeepWhatTheyLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		learning := detectors.Learning{Ready: 60, FalseAlarmRows: 20000}
		made := []detectors.Detector{}
		watch := func(high float64) func(c sensors.Channel) Watch {
			l := limit100
			l.High = high
			return func(c sensors.Channel) Watch {
				made = append(made, ewma.New(learning))
				return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{threshold.New(l), made[len(made)-1]}, Settings: []any{l, learning}}
			}
		}
		var level atomic.Int64
		read := func(ctx context.Context, out *sensors.Writer) error {
			for i := 0; ctx.Err() == nil; i++ {
				put(ctx, out, float64(level.Load())+float64(i*7919%13))
				time.Sleep(time.Second)
			}
			return nil
		}
		r := start(t, watch(1000), source("s", read, "a.x"))
		time.Sleep(time.Hour)
		level.Store(50) // far out for who has learned, inside the limit
		time.Sleep(time.Minute)
		if got := r.story(); len(got) != 1 {
			t.Fatalf("before the reload: %v", got)
		}
		kept := r.change(t, Change{Watch: watch(900), Same: func(sensors.Channel) bool { return false }})
		if !maps.Equal(kept, map[string]Kept{"a.x": {Kept: 1, Anew: 1}}) {
			t.Errorf("kept %v", kept)
		}
		if r.Judge.watches[0].Detectors[1] != made[0] {
			t.Error("the learned detector is another")
		}
		time.Sleep(time.Minute)
		level.Store(0)
		time.Sleep(time.Hour)
		r.stop()
		want(t, r.story(), "a.x raised 1", "a.x cleared 1")
		if n := r.Judge.Alarms.Load(); n != 0 {
			t.Errorf("%d alarms active", n)
		}
	})
}

// A limit that is moved, or has a delay now, is another detector: its alarm
// stays until that can tell. One that is taken out takes its alarm with it.
func TestAlarmOverAReloadOfItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var value atomic.Int64
		value.Store(150)
		read := func(ctx context.Context, out *sensors.Writer) error {
			for ctx.Err() == nil {
				put(ctx, out, float64(value.Load()))
				time.Sleep(time.Second)
			}
			return nil
		}
		by := func(l threshold.Limits) Change {
			return Change{Same: func(sensors.Channel) bool { return false }, Watch: func(c sensors.Channel) Watch {
				return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{threshold.New(l)}, Settings: []any{l}}
			}}
		}
		delayed, above := limit100, limit100
		delayed.OnDelay, above.High = time.Minute, 200
		r := start(t, limited, source("s", read, "a.x"))
		time.Sleep(3 * time.Second)
		r.change(t, by(delayed))
		time.Sleep(2 * time.Minute)
		want(t, r.story(), "a.x raised 1")
		r.change(t, by(above))
		time.Sleep(3 * time.Second)
		want(t, r.story(), "a.x raised 1", "a.x cleared 1")
		value.Store(250)
		time.Sleep(3 * time.Second)
		r.change(t, Change{Same: func(sensors.Channel) bool { return false }, Watch: func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}})
		r.stop()
		want(t, r.story(), "a.x raised 1", "a.x cleared 1", "a.x raised 3", "a.x cleared 3")
		if last := r.disk.records[3].Body; !contains(last, "is not judged any more") {
			t.Errorf("withdrawn with %s", last)
		}
	})
}

// What a source alone has read is not judged any more when it is taken out: its
// alarm is withdrawn, and nobody calls it silent. What another reads too goes on.
func TestSourceThatIsTakenOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch := func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{threshold.New(limit100), silence.New(time.Minute)}}
		}
		read := func(ctx context.Context, out *sensors.Writer) error {
			for ctx.Err() == nil {
				now := sensors.Steady()
				_ = out.Put(ctx, sensors.Sample{Time: now, Value: 150}, sensors.Sample{Time: now, Value: 150, Channel: 1})
				time.Sleep(time.Second)
			}
			return nil
		}
		r := start(t, watch, source("s", read, "a.alone", "a.shared"), source("t", read, "a.shared", "a.other"))
		time.Sleep(5 * time.Second)
		r.change(t, Change{Stop: []string{"s"}})
		if n := r.Queue.NumChannels(); n != 2 || len(r.All()) != 1 {
			t.Errorf("%d channels of %d sources, want 2 of 1", n, len(r.All()))
		}
		time.Sleep(time.Hour)
		r.stop()
		var told []string // the alarms' numbers are as the two sources raced
		for _, e := range r.disk.records {
			told = append(told, e.Subject+" "+e.State.String())
		}
		slices.Sort(told)
		want(t, told, "a.alone cleared", "a.alone raised", "a.other raised", "a.shared raised")
	})
}

// A source that finds its channels is reloaded: an alarm on one of them waits
// until it is found again, for an hour at most.
func TestFoundChannelOverAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finds := func(names ...string) *Source {
			s := source("s", func(ctx context.Context, out *sensors.Writer) error {
				var samples []sensors.Sample
				for _, name := range names {
					id, err := out.Register(sensors.Channel{Name: name})
					if err != nil {
						return err
					}
					samples = append(samples, sensors.Sample{Channel: id, Value: 150})
				}
				for ctx.Err() == nil {
					for i := range samples {
						samples[i].Time = sensors.Steady()
					}
					_ = out.Put(ctx, samples...)
					time.Sleep(time.Second)
				}
				return nil
			})
			s.Finds = true
			return s
		}
		watch := func(c sensors.Channel) Watch {
			w := limited(c)
			w.Detectors, w.Settings = append(w.Detectors, new(counts)), append(w.Settings, "counts")
			return w
		}
		m := openMemory(t, t.TempDir())
		defer closed(t, m)
		r := start(t, watch, finds("a.stays", "a.goes"))
		time.Sleep(time.Second / 2)
		if err := r.Queue.Then(func() { r.Judge.Memory = m }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		began := time.Now()
		r.change(t, Change{Stop: []string{"s"}, Start: []*Source{finds("a.stays")}})
		time.Sleep(4*time.Second + time.Second/2)
		if err := r.Queue.Then(func() {
			for _, w := range r.Judge.watches {
				if w != nil && w.Channel.Name == "a.stays" && w.Detectors[1].(*counts).n < 10 {
					t.Errorf("what was found again is learned afresh: %d", w.Detectors[1].(*counts).n)
				}
			}
		}); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour)
		r.stop()
		want(t, r.story(), "a.stays raised 1", "a.goes raised 2", "a.goes cleared 2")
		if after := time.Unix(0, r.disk.records[2].Time).Sub(began); after < patience || after > patience+time.Minute {
			t.Errorf("withdrawn after %v", after)
		}
	})
}

// A channel whose unit changed is another quantity: everything begins anew.
func TestUnitThatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := func(unit string) *Source {
			return &Source{Name: "s", Source: reads{[]sensors.Channel{{Name: "a.x", Unit: unit}}, waits}}
		}
		r := start(t, limited, in("Cel"))
		if kept := r.change(t, Change{Stop: []string{"s"}, Start: []*Source{in("Cel")}}); len(kept) != 0 {
			t.Errorf("the same unit: %v", kept)
		}
		if kept := r.change(t, Change{Stop: []string{"s"}, Start: []*Source{in("[degF]")}}); kept["a.x"] != (Kept{Anew: 1}) {
			t.Errorf("another unit: %v", kept)
		}
		if got := r.Judge.watches[0].Channel.Unit; got != "[degF]" {
			t.Errorf("events would say %q", got)
		}
		r.stop()
	})
}

// Channels may be renamed for ever: their numbers are given out again, and no
// reading of the old one is judged as the new one.
func TestChannelsThatAreRenamedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		read := func(ctx context.Context, out *sensors.Writer) error {
			for i := 0; ctx.Err() == nil; i++ {
				put(ctx, out, float64(i%2)*150)
				time.Sleep(time.Millisecond)
			}
			return nil
		}
		named := func(i int) *Source { return source("s", read, fmt.Sprintf("a.%d", i), fmt.Sprintf("b.%d", i)) }
		r := start(t, limited, named(0))
		for i := range 100 {
			time.Sleep(5 * time.Millisecond)
			r.change(t, Change{Stop: []string{"s"}, Start: []*Source{named(i + 1)}})
		}
		r.stop()
		balanced(t, r.All()[0].Writer)
		if n := len(r.Judge.watches); n > 4 {
			t.Errorf("%d numbers for 2 channels", n)
		}
		generation := ""
		for _, record := range r.disk.records {
			_, now, _ := strings.Cut(record.Subject, ".")
			if len(now) < len(generation) || len(now) == len(generation) && now < generation {
				t.Fatalf("an event of %s after one of generation %s", record.Subject, generation)
			}
			generation = now
		}
	})
}

// A source that does not stop is left behind; what it still puts is refused, and
// the one in its place begins.
func TestReloadLeavesAStuckSourceBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := make(chan error, 1)
		stuck := source("s", func(_ context.Context, out *sensors.Writer) error {
			time.Sleep(time.Hour) // whatever ctx says
			late <- out.Put(t.Context(), sensors.Sample{Value: 150})
			return nil
		}, "a.x")
		r := start(t, limited, stuck)
		began := time.Now()
		r.change(t, Change{Stop: []string{"s"}, Start: []*Source{source("s", waits, "a.x")}})
		if took := time.Since(began); took > r.Grace/2+time.Second {
			t.Errorf("the reload took %v", took)
		}
		time.Sleep(2 * time.Hour)
		r.stop()
		if err := <-late; !errors.Is(err, sensors.ErrClosed) || len(r.disk.records) != 0 {
			t.Errorf("Put: %v, %d events", err, len(r.disk.records))
		}
		balanced(t, stuck.Writer)
	})
}

// A stop wins over a reload that waits for a source, and stays inside the grace.
func TestStopDuringAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := source("slow", func(ctx context.Context, out *sensors.Writer) error {
			<-ctx.Done()
			time.Sleep(5 * time.Second)
			put(context.WithoutCancel(ctx), out, 150) // as an acknowledgement that came late
			return nil
		}, "a.x")
		r := start(t, limited, slow)
		ctx, cancel := context.WithCancel(t.Context())
		refused := make(chan error, 1)
		go func() {
			_, err := r.Change(ctx, Change{Stop: []string{"slow"}, Start: []*Source{source("slow", waits, "a.x")}})
			refused <- err
		}()
		time.Sleep(time.Second)
		cancel()
		began := time.Now()
		r.stop()
		if err := <-refused; !errors.Is(err, context.Canceled) {
			t.Errorf("Change: %v", err)
		}
		if took := time.Since(began); took > r.Grace/2 {
			t.Errorf("the stop took %v", took)
		}
		want(t, r.story(), "a.x raised 1")
		if _, err := r.Change(t.Context(), Change{Start: []*Source{source("new", waits, "b.x")}}); !errors.Is(err, sensors.ErrClosed) {
			t.Errorf("Change of a street that has stopped: %v", err)
		}
	})
}

// Whoever waits for a broker that was just mended need not wait for long.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mended atomic.Bool
		r := start(t, limited, source("s", func(ctx context.Context, out *sensors.Writer) error {
			if !mended.Load() {
				return errors.New("refused")
			}
			return waits(ctx, out)
		}, "a.x"), source("t", waits, "b.x"))
		time.Sleep(10*time.Minute + time.Millisecond)
		mended.Store(true)
		r.Hurry()
		r.Hurry()
		synctest.Wait()
		if s := r.All()[0].Status(); s.State != "running" {
			t.Errorf("it is %s", s.State)
		}
		r.stop()
	})
}

// A channel that its source finds with another scale is another quantity too:
// what was learned of it, and is on disk, is of no use.
func TestScaleOfAFoundChannelChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		finds := func(scaling string) *Source {
			s := source("s", func(ctx context.Context, out *sensors.Writer) error {
				id, err := out.Register(sensors.Channel{Name: "a.x", Scaling: scaling})
				for err == nil && ctx.Err() == nil {
					err = out.Put(ctx, sensors.Sample{Channel: id, Time: sensors.Steady()})
					time.Sleep(time.Second)
				}
				return err
			})
			s.Finds = true
			return s
		}
		watch := func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{new(counts)}, Settings: []any{"counts"}}
		}
		m := openMemory(t, t.TempDir())
		defer closed(t, m)
		r := start(t, watch, finds(""))
		time.Sleep(time.Second / 2)
		if err := r.Queue.Then(func() { r.Judge.Memory = m }); err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			scaling string
			want    byte
		}{{"", 22}, {"×0.1 +0", 11}, {"×0.1 +0", 32}} {
			time.Sleep(10 * time.Second)
			r.change(t, Change{Stop: []string{"s"}, Start: []*Source{finds(step.scaling)}})
			time.Sleep(10 * time.Second)
			if err := r.Queue.Then(func() {
				if n := r.Judge.watches[0].Detectors[0].(*counts).n; n < step.want-2 || n > step.want+2 {
					t.Errorf("scaled %q: %d readings learned from, want %d", step.scaling, n, step.want)
				}
			}); err != nil {
				t.Error(err)
			}
		}
		r.stop()
	})
}
