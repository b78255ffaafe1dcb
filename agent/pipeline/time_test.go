package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/agent/alarms"
	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/detectors/rate"
	"tocsin/detectors/silence"
	"tocsin/detectors/stuck"
	"tocsin/detectors/threshold"
	"tocsin/sensors"
)

// shift is what happens, second by second, on a machine whose gateway's clock is
// set after a minute: everything that runs on time is under way then.
var shift = []struct {
	channel  string
	detector func() detectors.Detector
	value    func(second int) float64 // NaN: the sensor is silent
	want     []string
}{
	{"on_delay", delayed(30*time.Second, 0), func(s int) float64 { return step(s >= 50, 50, 150) }, []string{"raised after 80 s"}},
	{"off_delay", delayed(0, 30*time.Second), func(s int) float64 { return step(s >= 10 && s < 50, 50, 150) }, []string{"raised after 10 s", "cleared after 80 s"}},
	{"goes_on", delayed(0, 0), func(s int) float64 { return step(s >= 10, 50, 150) }, []string{"raised after 10 s"}},
	{"back_too_soon", delayed(0, 0), func(s int) float64 { return step(s >= 40 && s < 55 || s >= 58 && s < 70, 50, 150) }, []string{"raised after 40 s", "cleared after 55 s"}},
	{"silent", func() detectors.Detector { return silence.New(time.Minute) }, func(s int) float64 { return step(s > 30, 50, math.NaN()) }, []string{"raised after 90 s"}},
	{"stuck", stuckFor40, func(s int) float64 { return step(s < 45, 50, float64(s)) }, []string{"raised after 85 s"}},
	{"moves", stuckFor40, func(s int) float64 { return float64(s / 5) }, nil},
	{"rate", func() detectors.Detector { return rate.New(detectors.Learning{}, 5) }, func(s int) float64 { return float64(4 * s) }, nil},
}

// step is b where yes, else a.
func step(yes bool, a, b float64) float64 {
	if yes {
		return b
	}
	return a
}

func delayed(on, off time.Duration) func() detectors.Detector {
	l := limit100
	l.OnDelay, l.OffDelay = on, off
	return func() detectors.Detector { return threshold.New(l) }
}

func stuckFor40() detectors.Detector { return stuck.New(40*time.Second, detectors.Learning{}) }

// worker plays the shift, and stamps readings as real sources do that bring no
// time of their own.
type worker struct{}

func (worker) Channels() (list []sensors.Channel) {
	for _, c := range shift {
		list = append(list, sensors.Channel{Name: "pump1." + c.channel})
	}
	return list
}

func (worker) Run(ctx context.Context, out *sensors.Writer) error {
	for second := 0; ctx.Err() == nil; second++ {
		for id, c := range shift {
			if v := c.value(second); !math.IsNaN(v) {
				_ = out.Put(ctx, sensors.Sample{Time: sensors.Steady(), Channel: sensors.ChannelID(id), Value: v})
			}
		}
		time.Sleep(time.Second)
	}
	return nil
}

// Whatever happens to the gateway's clock, no alarm is raised or cleared for it,
// none is late, and every event tells the wall time as the clock has it then.
func TestClockIsSet(t *testing.T) {
	today := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name          string
		wall          time.Time
		set           time.Duration
		synced        bool
		before, after string
	}{
		{"never", today, 0, false, "unsynced", "unsynced"},
		{"from 1970", time.Unix(0, 0), today.Sub(time.Unix(0, 0)), true, "unset", "synced"},
		{"an hour back", today, -time.Hour, false, "unsynced", "unsynced"},
		{"ten years ahead", today, 10 * 365 * 24 * time.Hour, false, "unsynced", "unsynced"},
		{"to 1970", today, time.Unix(0, 0).Sub(today), false, "unsynced", "unset"},
		{"a leap second", today, -time.Second, true, "unsynced", "synced"},
		{"half a second", today, 500 * time.Millisecond, false, "unsynced", "unsynced"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				isSet := func() bool { return time.Since(began) > 59500*time.Millisecond }
				wall := func() time.Time {
					now := c.wall.Add(time.Since(began))
					if isSet() {
						now = now.Add(c.set)
					}
					return now
				}
				clk := clock.With(clock.Options{Wall: wall, Uptime: func() time.Duration { return time.Since(began) },
					Synced: func() bool { return c.synced && isSet() }})
				s, d := build(t, nil)
				s.Queue = sensors.NewQueue(4, 64, 16)
				w, err := s.Queue.Writer("work", worker{}.Channels())
				if err != nil {
					t.Fatal(err)
				}
				s.Sources = []*Source{{Name: "work", Source: worker{}, Writer: w}}
				s.Judge.Queue, s.Judge.Clock = s.Queue, clk
				s.Judge.Bell = alarms.NewBell(alarms.Settings{Update: time.Hour, ReAlarm: 20 * time.Second},
					alarms.Origin{Device: "gw", Boot: "this", Clock: clk}, 1, 1, s.Keeper.Emit)
				s.Judge.Watch = func(c sensors.Channel) Watch {
					for _, w := range shift {
						if c.Name == "pump1."+w.channel {
							return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{w.detector()}}
						}
					}
					return Watch{}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
				defer cancel()
				s.Run(ctx)

				got := map[string][]string{}
				for _, r := range d.records {
					var b struct {
						Clock  string
						Uptime float64
					}
					if err := json.Unmarshal(r.Body, &b); err != nil {
						t.Fatal(err)
					}
					got[r.Subject] = append(got[r.Subject], fmt.Sprintf("%v after %.0f s", r.State, b.Uptime))
					set, trust := time.Duration(0), c.before
					if b.Uptime > 59.5 {
						set, trust = c.set, c.after
					}
					want := c.wall.Add(time.Duration(b.Uptime * 1e9)).Add(set)
					if off := time.Unix(0, r.Time).Sub(want).Abs(); off > time.Millisecond || b.Clock != trust {
						t.Errorf("%s %v is told at %v, clock %s; want %v, %s", r.Subject, r.State, time.Unix(0, r.Time).UTC(), b.Clock, want.UTC(), trust)
					}
				}
				want := map[string][]string{}
				for _, w := range shift {
					if w.want != nil {
						want["pump1."+w.channel] = w.want
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A time that a device has given is told as it stands, whatever the gateway's
// clock does; so says its event. That of a reading that came without is the
// gateway's, which has been set meanwhile.
func TestWhoseTime(t *testing.T) {
	const set = 365 * 24 * time.Hour
	clk := clock.With(clock.Options{Wall: func() time.Time { return time.Unix(0, sensors.Steady()).Add(set) }, Synced: func() bool { return true }})
	b := newBench(t, Watch{Low: -1000, High: 1000, Detectors: []detectors.Detector{threshold.New(limit100), threshold.NewRange(-1000, 1000)}}, nil)
	b.Judge.Clock = clk
	b.Bell = alarms.NewBell(alarms.Settings{}, alarms.Origin{Device: "gw", Clock: clk}, 1, 1, b.emit)
	now := sensors.Steady()
	for _, c := range []struct {
		value   float64
		quality sensors.Quality
		want    int64
		clock   string
	}{
		{150, sensors.DeviceTime, now, "device"},
		{1500, sensors.DeviceTime, now, "device"},
		{1500, sensors.Good, now + int64(set), "synced"},
		{150, sensors.Good, now + int64(set), "synced"},
	} {
		b.records = nil
		s := sensors.Sample{Time: now, Value: c.value, Quality: c.quality}
		b.sample(&s, sensors.Now(), b.writer)
		var body struct{ Clock, Quality string }
		if len(b.records) == 0 {
			t.Fatalf("%g: no event", c.value)
		}
		r := b.records[len(b.records)-1]
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		if off := time.Duration(r.Time - c.want); off.Abs() > time.Second || body.Clock != c.clock {
			t.Errorf("%g of %x is told %v off, clock %s, want %s", c.value, uint32(c.quality), off, body.Clock, c.clock)
		}
		b.look()
		if off := time.Duration(b.wall(&s) - c.want); off.Abs() > time.Second {
			t.Errorf("%g of %x is fed %v off", c.value, uint32(c.quality), off)
		}
	}
}
