package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/detectors/silence"
	"tocsin/detectors/threshold"
	"tocsin/sensors"
	"tocsin/uplink"
)

// says is a detector that says what a test wants of the values 0, 1, 2 …
type says struct {
	traits   detectors.Traits
	verdicts []detectors.Verdict
}

func (d says) Traits() detectors.Traits { return d.traits }
func (d says) Judge(w detectors.Window) detectors.Verdict {
	return d.verdicts[int(w.Value)]
}

// bench is a judge without a street: readings go in, events come out.
type bench struct {
	*Judge
	records []uplink.Record
	state   map[string][]byte
	writer  *sensors.Writer
	watch   Watch
	second  int64
}

func newBench(t *testing.T, w Watch, left map[string][]byte) *bench {
	t.Helper()
	b := &bench{watch: w, state: map[string][]byte{}}
	q := sensors.NewQueue(4, 8, 16)
	var err error
	if b.writer, err = q.Writer("test", []sensors.Channel{{Name: "pump1.temp", Unit: "Cel"}}); err != nil {
		t.Fatal(err)
	}
	var entries []uplink.Entry
	for k, v := range left {
		entries = append(entries, uplink.Entry{Key: k, Value: v})
		b.state[k] = v
	}
	b.Judge = &Judge{Queue: q, Log: slog.New(slog.DiscardHandler), Restored: alarms.Restore(entries),
		Watch: func(c sensors.Channel) Watch { w := b.watch; w.Channel = alarms.Channel{Channel: c}; return w }}
	b.Bell = alarms.NewBell(alarms.Settings{Update: time.Hour}, alarms.Origin{Device: "gw"}, 1, 100, b.emit)
	return b
}

func (b *bench) emit(r uplink.Record, e uplink.Entry) {
	b.records = append(b.records, r)
	if delete(b.state, e.Key); e.Value != nil {
		b.state[e.Key] = e.Value
	}
}

// judge gives readings, one a second.
func (b *bench) judge(values ...float64) {
	for _, v := range values {
		b.second++
		b.sample(&sensors.Sample{Time: b.second * 1e9, Value: v}, b.second*1e9, b.writer)
	}
}

func (b *bench) story() (words []string) {
	for _, r := range b.records {
		words = append(words, r.Subject+" "+r.State.String()+" "+r.Severity.String())
	}
	return words
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The gravest finding of a class speaks for it, then the highest score; what is
// below the line never does.
func TestWhichVerdictSpeaks(t *testing.T) {
	const under, over = 0.4, 0.6
	for _, c := range []struct {
		name     string
		verdicts []detectors.Verdict
		want     int
	}{
		{"found before not found", []detectors.Verdict{{Score: under, Severity: detectors.Critical}, {Score: over, Severity: detectors.Low}}, 1},
		{"graver before higher", []detectors.Verdict{{Score: over, Severity: detectors.High}, {Score: 1, Severity: detectors.Medium}}, 0},
		{"higher of the same severity", []detectors.Verdict{{Score: over, Severity: detectors.High}, {Score: 0.9, Severity: detectors.High}}, 1},
		{"the first of equals", []detectors.Verdict{{Score: over, Severity: detectors.High}, {Score: over, Severity: detectors.High}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ds []detectors.Detector
			for i, v := range c.verdicts {
				ds = append(ds, says{detectors.Traits{Name: string(rune('a' + i)), Severity: detectors.Medium}, []detectors.Verdict{v}})
			}
			b := newBench(t, Watch{Detectors: ds}, nil)
			b.judge(0)
			if got := b.watches[0].alarm[alarms.Process].Last().Traits.Name; len(b.records) != 1 || got != string(rune('a'+c.want)) {
				t.Errorf("%q speaks in %d events", got, len(b.records))
			}
		})
	}
}

// What the sensor cannot read is its own fault, never the machine's.
func TestOutOfRangeIsTheSensorsFault(t *testing.T) {
	b := newBench(t, Watch{Low: 0, High: 150, Detectors: []detectors.Detector{threshold.NewRange(0, 150),
		threshold.New(threshold.Limits{HighHigh: 200, High: 100, Low: math.Inf(-1), LowLow: math.Inf(-1)})}}, nil)
	b.judge(50, 850, 50)
	if got := []string{b.records[0].Type, b.records[1].Type}; len(b.records) != 2 || got[0] != "tocsin.sensor.raised.v1" || got[1] != "tocsin.sensor.cleared.v1" {
		t.Errorf("%v", b.story())
	}
	if c := &b.writer.Counters; c.Refused(sensors.OutOfRange) != 1 {
		t.Errorf("%d out of range, want 1", c.Refused(sensors.OutOfRange))
	}
}

var limit100 = threshold.Limits{HighHigh: math.Inf(1), High: 100, Low: math.Inf(-1), LowLow: math.Inf(-1)}

// After a power cut nobody says all-clear while the fault goes on, though the
// detectors begin anew.
func TestRestartIsNoAllClear(t *testing.T) {
	delayed := limit100
	delayed.OnDelay = 5 * time.Second
	learned := func(v ...detectors.Verdict) detectors.Detector {
		return says{detectors.Traits{Name: "ewma", Severity: detectors.Medium}, v}
	}
	unready := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	found := detectors.Verdict{Score: 0.8, Low: -1, High: 0.5, Reason: detectors.MeanHigher}
	usual := detectors.Verdict{Score: 0.1, Low: -1, High: 5}
	stuck := func() detectors.Detector {
		return says{detectors.Traits{Name: "stuck", Severity: detectors.Low, Status: detectors.Failure},
			[]detectors.Verdict{unready, {Score: 0.6, Low: math.Inf(-1), High: math.Inf(1), Reason: detectors.NotChanging}, unready}}
	}
	limit := func(l threshold.Limits) func() detectors.Detector {
		return func() detectors.Detector { return threshold.New(l) }
	}
	for _, c := range []struct {
		name          string
		before, after func() detectors.Detector
		first, later  []float64
		want          []string
	}{
		{"limit, delayed", limit(limit100), limit(delayed), []float64{150}, []float64{150, 150, 150, 150, 150, 150, 150}, nil},
		{"limit, over", limit(limit100), limit(delayed), []float64{150}, []float64{50}, []string{"pump1.temp cleared high"}},
		{"limit, over after a while", limit(limit100), limit(delayed), []float64{150}, []float64{150, 50}, []string{"pump1.temp cleared high"}},
		{"learned anew", func() detectors.Detector { return learned(unready, found) }, func() detectors.Detector { return learned(unready, unready) },
			[]float64{1}, []float64{1, 1, 1}, nil},
		{"learned anew, then usual", func() detectors.Detector { return learned(unready, found) }, func() detectors.Detector { return learned(unready, unready, usual) },
			[]float64{1}, []float64{1, 1, 2}, []string{"pump1.temp cleared medium"}},
		{"stuck", stuck, func() detectors.Detector {
			return says{detectors.Traits{Name: "stuck", Severity: detectors.Low, Status: detectors.Failure}, []detectors.Verdict{unready, unready, unready}}
		}, []float64{1}, []float64{1, 1}, nil},
		{"stuck no more", stuck, stuck, []float64{1}, []float64{2}, []string{"pump1.temp cleared low"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := newBench(t, Watch{Detectors: []detectors.Detector{c.before()}}, nil)
			before.judge(c.first...)
			if len(before.state) != 1 {
				t.Fatalf("nothing was raised: %v", before.story())
			}
			after := newBench(t, Watch{Detectors: []detectors.Detector{c.after()}}, before.state)
			after.judge(c.later...)
			want(t, after.story(), c.want...)
		})
	}
}

// Nor does it wait for ever for a detector that never learns enough.
func TestAllClearDoesNotWaitForEver(t *testing.T) {
	before := newBench(t, Watch{Detectors: []detectors.Detector{threshold.New(limit100)}}, nil)
	before.judge(150)
	open := says{detectors.Traits{Name: "limit"}, []detectors.Verdict{{Low: math.Inf(-1), High: math.Inf(1)}}}
	after := newBench(t, Watch{Detectors: []detectors.Detector{open}}, before.state)
	after.judge(0)
	want(t, after.story())
	after.second = (sensors.Now() + int64(patience)) / 1e9
	after.judge(0)
	want(t, after.story(), "pump1.temp cleared high")
}

// left is the state of active alarms on the channels.
func left(t *testing.T, channels ...string) map[string][]byte {
	t.Helper()
	b := newBench(t, Watch{Detectors: []detectors.Detector{threshold.New(limit100)}}, nil)
	b.judge(150)
	state := map[string][]byte{}
	for _, c := range channels {
		state["process/"+c] = b.state["process/pump1.temp"]
	}
	return state
}

// Alarms of channels that the configuration no longer names are cleared at the
// start, however many, and those that a wildcard may still find after an hour.
func TestAlarmsOfChannelsThatAreGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, fixed := range []bool{true, false} {
			b := newBench(t, Watch{Detectors: []detectors.Detector{threshold.New(limit100)}}, left(t, "gone.a", "pump1.temp"))
			b.Fixed = fixed
			began := time.Now()
			done := make(chan struct{})
			go func() { defer close(done); b.Run() }()
			time.Sleep(61 * time.Minute)
			b.Queue.Close()
			<-done
			want(t, b.story(), "gone.a cleared high")
			if after := time.Unix(0, b.records[0].Time).Sub(began); (after < time.Minute) != fixed || after > patience+time.Minute {
				t.Errorf("fixed %v: withdrawn after %v", fixed, after)
			}
			if len(b.state) != 1 || b.Alarms.Load() != 1 {
				t.Errorf("%d states, %d active, want that of pump1.temp", len(b.state), b.Alarms.Load())
			}
		}
	})
}

// The alarms of a class that nobody judges any more are withdrawn.
func TestAlarmOfADetectorThatIsGone(t *testing.T) {
	b := newBench(t, Watch{Detectors: []detectors.Detector{threshold.NewRange(0, 1)}}, left(t, "pump1.temp"))
	b.Judge.watch(0)
	want(t, b.story(), "pump1.temp cleared high")
}

// More alarms end at the start than wait for the keeper: nobody may wait for it
// before it runs.
func TestStartWithMoreOrphansThanTheKeeperHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, _ *sensors.Writer) error { <-ctx.Done(); return nil })
		var gone []uplink.Entry
		state := left(t, "x")["process/x"]
		for i := range 100 {
			gone = append(gone, uplink.Entry{Key: "process/gone." + string(rune('a'+i)), Value: state})
		}
		s.Judge.Restored, s.Judge.Fixed = alarms.Restore(gone), true
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.Run(ctx)
		if len(d.records) != 100 {
			t.Errorf("%d events, want 100", len(d.records))
		}
	})
}

// While the disk takes no events the judge stands still. Nobody was silent then.
func TestStandstillIsNobodysSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			for i := 0; ctx.Err() == nil; i++ {
				put(ctx, out, float64(i%2)*150)
				time.Sleep(time.Second)
			}
			return nil
		})
		s.Judge.Watch = func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{threshold.New(limit100), silence.New(10 * time.Second)}}
		}
		d.fail = errors.New("input/output error")
		time.AfterFunc(20*time.Minute, func() { d.break_(nil) })
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Minute)
		defer cancel()
		s.Run(ctx)
		for _, r := range d.records {
			if r.Type != "tocsin.alarm.raised.v1" && r.Type != "tocsin.alarm.cleared.v1" {
				t.Fatalf("%s at %v: %s", r.Type, time.Unix(0, r.Time), r.Body)
			}
		}
		if len(d.records) < 300 {
			t.Errorf("only %d events", len(d.records))
		}
		balanced(t, s.Sources[0].Writer)
	})
}

// Readings that the device calls bad are none: their channel falls silent.
func TestBadReadingsAreSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			put(ctx, out, 50)
			for ctx.Err() == nil {
				_ = out.Put(ctx, sensors.Sample{Time: time.Now().UnixNano(), Value: 7, Quality: sensors.BadSensorFailure})
				time.Sleep(time.Second)
			}
			return nil
		})
		s.Judge.Watch = func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		s.Run(ctx)
		want := `"message":"pump1.temp has gone silent: nothing for 1m0s, the last reading was 50 Cel"`
		if len(d.records) != 1 || !contains(d.records[0].Body, want) {
			t.Errorf("%d events, want one with %s", len(d.records), want)
		}
		balanced(t, s.Sources[0].Writer)
	})
}
