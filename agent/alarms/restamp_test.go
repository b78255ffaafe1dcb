package alarms

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// gateway is a clock that a test turns, over a bell whose events are kept. It
// starts in 1970, half a minute after its kernel.
type gateway struct {
	tower
	clock  *clock.Clock
	steady int64
	step   time.Duration
	synced bool
}

func newGateway() *gateway {
	g := &gateway{steady: int64(30 * time.Second)}
	g.clock = clock.With(clock.Options{
		Wall:   func() time.Time { return time.Unix(0, g.steady).Add(g.step) },
		Steady: func() int64 { return g.steady },
		Uptime: func() time.Duration { return time.Duration(g.steady) },
		Synced: func() bool { return g.synced },
	})
	g.tower = *newTower(Settings{})
	g.Bell = NewBell(Settings{Update: time.Hour}, Origin{Device: "gw-1", Version: "test", Boot: "this", Clock: g.clock}, 0xfeed, 1,
		func(r uplink.Record, _ uplink.Entry) { g.records = append(g.records, r) })
	return g
}

// set turns the wall clock to a time.
func (g *gateway) set(to time.Time, synced bool) {
	g.step, g.synced = to.Sub(time.Unix(0, g.steady)), synced
}

func (g *gateway) pass(d time.Duration) { g.steady += int64(d) }

// find judges a reading of now; own says that its time is the device's.
func (g *gateway) find(own bool, score float64) {
	at := g.steady
	if own {
		at = today.UnixNano()
	}
	g.Find(&g.channel, Process, &g.alarm, Finding{Time: at, Seen: at, Own: own, Value: 91,
		Verdict: detectors.Verdict{Score: score, Low: math.Inf(-1), High: 85}, Traits: detectors.Traits{Name: "limit", Severity: detectors.High}})
}

type told struct {
	Time, Since time.Time
	Clock, Boot string
	Uptime      float64
	Message     string
}

func parse(t *testing.T, r uplink.Record) (b told) {
	t.Helper()
	if err := json.Unmarshal(r.Body, &b); err != nil {
		t.Fatalf("%v: %s", err, r.Body)
	}
	if !b.Time.Equal(time.Unix(0, r.Time)) {
		t.Errorf("time %v in the body, ce_time %v", b.Time, time.Unix(0, r.Time))
	}
	return b
}

var today = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

func TestRestamp(t *testing.T) {
	for _, c := range []struct {
		name           string
		was            time.Time // what the clock shows when the alarm is raised; zero: 1970
		synced         bool      // and whether that is vouched for
		off            time.Duration
		vouched        bool // at sending
		own, otherBoot bool
		unset          bool // at sending, still
		want           string
	}{
		{name: "1970, then a time service", vouched: true, want: "restamped"},
		{name: "1970, then set by hand", want: "restamped"},
		{name: "an hour ahead, then a time service", was: today, off: time.Hour, vouched: true, want: "restamped"},
		{name: "an hour behind, then a time service", was: today, off: -time.Hour, vouched: true, want: "restamped"},
		{name: "ten years ahead, then a time service", was: today, off: 10 * 365 * 24 * time.Hour, vouched: true, want: "restamped"},
		{name: "right, then a time service", was: today, vouched: true, want: "unsynced"},
		{name: "a leap second", was: today, off: time.Second, vouched: true, want: "unsynced"},
		{name: "set by hand, twice", was: today, off: time.Hour, want: "unsynced"},
		{name: "vouched for, then set", was: today, synced: true, off: time.Hour, want: "synced"},
		{name: "1970 still", unset: true, want: "unset"},
		{name: "1970, in an earlier boot", otherBoot: true, vouched: true, want: "unset"},
		{name: "stamped by the device", own: true, vouched: true, want: "device"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway()
			if !c.was.IsZero() {
				g.set(c.was.Add(c.off), c.synced)
			}
			began := g.steady
			g.find(c.own, 0.9)
			g.pass(90 * time.Minute)
			g.find(c.own, 0.95) // told again
			made := []told{parse(t, g.records[0]), parse(t, g.records[len(g.records)-1])}
			before := append([]byte(nil), g.records[0].Body...)

			g.pass(time.Hour)
			right := today.Add(time.Duration(g.steady - began)) // today is when the alarm was raised
			if !c.unset {
				g.set(right, c.vouched)
			}
			s := &Restamper{Boot: "this", Clock: g.clock}
			if c.otherBoot {
				s.Boot = "other"
			}
			sent := s.Records(g.records)
			if !bytes.Equal(before, g.records[0].Body) {
				t.Error("what is on disk was changed")
			}
			for i, r := range []uplink.Record{sent[0], sent[len(sent)-1]} {
				got, want := parse(t, r), made[i]
				want.Clock = c.want
				if c.want == "restamped" {
					want.Time, want.Since = today.Add(time.Duration(i)*90*time.Minute), today
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				conforms(t, r.Body)
			}
			if c.want != "restamped" && &sent[0] != &g.records[0] {
				t.Error("copied for nothing")
			}
		})
	}
}

// An alarm that is on when the clock is set goes on: its later events say since
// when as it is known then, and for how long it really has lasted.
func TestAlarmOutlastsAStep(t *testing.T) {
	for _, step := range []time.Duration{today.Sub(time.Unix(0, 0)), -10 * time.Second} {
		g := newGateway()
		g.find(false, 0.9)
		g.pass(time.Minute)
		g.step = step
		g.find(false, 0.9)
		g.pass(time.Minute)
		g.find(false, 0.1)
		if g.story() != "raised high, cleared high" {
			t.Fatalf("told %q", g.story())
		}
		got := parse(t, g.records[1])
		since := time.Unix(0, g.steady).Add(step - 2*time.Minute)
		if !got.Since.Equal(since) || got.Time.Sub(got.Since) != 2*time.Minute || got.Message != "pump1.bearing_temp is back to normal: 91 Cel after 2m0s" {
			t.Errorf("%+v, want since %v", got, since)
		}
	}
}

// What an earlier boot raised keeps its beginning: another clock told it.
func TestRestampKeepsAnEarlierBeginning(t *testing.T) {
	for _, was := range []time.Time{time.Unix(30, 0), today.Add(-2 * time.Hour)} {
		g := newGateway()
		g.set(was, false)
		began := today.Add(-24 * time.Hour)
		g.alarm = Alarm{raised: &raised{id: 1, epoch: 1, severity: detectors.High, since: moment{began.UnixNano(), true}, told: began.UnixNano()}}
		g.find(false, 0.9)
		g.pass(time.Minute)
		g.set(today, true)
		got := parse(t, (&Restamper{Boot: "this", Clock: g.clock}).Records(g.records)[0])
		if !got.Since.Equal(began) || !got.Time.Equal(today.Add(-time.Minute)) || got.Clock != "restamped" {
			t.Errorf("%+v", got)
		}
	}
}

// A body changes where it says when, and nowhere else, whatever stands in it.
func FuzzRestamp(f *testing.F) {
	f.Add("pump1.temp", "Cel", `a,"time":"b`, int64(1e9), int64(5e9), 91.5)
	f.Add(`,"clock":"unset","boot":"this"`, `","since":"`, `\`, int64(-1), int64(0), math.Inf(1))
	f.Add("x", "", "\xff,\"uptime\":", int64(math.MaxInt64), int64(math.MinInt64), 0.0)
	f.Fuzz(func(t *testing.T, channel, unit, site string, at, since int64, value float64) {
		g := newGateway()
		g.origin.Site, g.channel.Channel, g.channel.Machine = site, sensors.Channel{Name: channel, Unit: unit}, unit
		g.alarm = Alarm{raised: &raised{id: 1, severity: detectors.High, since: moment{since, true}, told: at}}
		g.Find(&g.channel, Process, &g.alarm, Finding{Time: at, Value: value, Verdict: detectors.Verdict{Score: 0.9}})
		g.Find(&g.channel, Process, &g.alarm, Finding{Time: at, Value: value, Verdict: detectors.Verdict{Score: 0.1}})
		g.set(today, true)
		s := &Restamper{Boot: "this", Clock: g.clock}
		for _, r := range g.records {
			was, is := map[string]any{}, map[string]any{}
			sent := s.Records([]uplink.Record{r})[0]
			if json.Unmarshal(r.Body, &was) != nil || json.Unmarshal(sent.Body, &is) != nil {
				t.Fatalf("not JSON: %s\n%s", r.Body, sent.Body)
			}
			if is["clock"] != "restamped" && !bytes.Equal(r.Body, sent.Body) {
				t.Fatalf("changed: %s", sent.Body)
			}
			for _, key := range []string{"time", "since", "clock"} {
				delete(was, key)
				delete(is, key)
			}
			if diff := cmp.Diff(was, is); diff != "" {
				t.Fatal(diff)
			}
		}
		for _, junk := range []string{channel, unit, site} { // must not panic
			s.Records([]uplink.Record{{Body: []byte(junk)}})
		}
	})
}

func BenchmarkRestamp(b *testing.B) {
	g := newGateway()
	g.find(false, 0.9)
	g.set(today, true)
	for name, boot := range map[string]string{"nothing to do": "other", "one": "this"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			s := &Restamper{Boot: boot, Clock: g.clock}
			for b.Loop() {
				s.Records(g.records)
			}
		})
	}
}
