package alarms

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// tower is a bell whose events and state are kept for looking at.
type tower struct {
	*Bell
	channel Channel
	alarm   Alarm
	records []uplink.Record
	state   map[string][]byte
}

func newTower(s Settings) *tower {
	t := &tower{state: map[string][]byte{}, channel: Channel{
		Channel: sensors.Channel{Name: "pump1.bearing_temp", Unit: "Cel"}, Machine: "pump1", Key: "acme/hall/pump1"}}
	t.Bell = NewBell(s, Origin{Device: "gw-1", Site: "acme/hall", Source: "/acme/hall/gw-1", Version: "test"}, 0xfeed, 1,
		func(r uplink.Record, e uplink.Entry) {
			t.records = append(t.records, r)
			if e.Value == nil {
				delete(t.state, e.Key)
			} else {
				t.state[e.Key] = e.Value
			}
		})
	return t
}

// at judges one reading at the given second; severity None is a finding below the line.
func (t *tower) at(second float64, s detectors.Severity) {
	v := detectors.Verdict{Score: 0.1, Low: math.Inf(-1), High: 85}
	if s != detectors.None {
		v.Score, v.Severity, v.Reason = 0.9, s, detectors.AboveHigh
	}
	now := int64(second * 1e9)
	t.Find(&t.channel, Process, &t.alarm, Finding{Time: now, Seen: now, Value: 80 + float64(s), Verdict: v,
		Traits: detectors.Traits{Name: "limit", Severity: detectors.High}})
}

func (t *tower) story() string {
	var words []string
	for _, r := range t.records {
		words = append(words, r.State.String()+" "+r.Severity.String())
	}
	return strings.Join(words, ", ")
}

func TestLifeOfAnAlarm(t *testing.T) {
	const no, high, crit = detectors.None, detectors.High, detectors.Critical
	type moment struct {
		second   float64
		severity detectors.Severity
	}
	minute := Settings{Update: time.Minute, ReAlarm: 2 * time.Second}
	for _, tt := range []struct {
		name    string
		set     Settings
		moments []moment
		want    string
	}{
		{"nothing found, nothing told", minute, []moment{{0, no}, {1, no}}, ""},
		{"raised once, cleared once", minute, []moment{{1, high}, {2, high}, {3, no}, {4, no}}, "raised high, cleared high"},
		{"told again while it goes on", minute, []moment{{1, high}, {30, high}, {61, high}, {90, high}, {121, high}}, "raised high, updated high, updated high"},
		{"a graver finding is told at once", minute, []moment{{1, high}, {2, crit}, {3, high}, {4, no}}, "raised high, updated critical, cleared critical"},
		{"back too soon, then gone: held", minute, []moment{{1, high}, {2, no}, {3, high}, {3.5, no}}, "raised high, cleared high"},
		{"back too soon and lasting: raised late", minute, []moment{{1, high}, {2, no}, {3, high}, {4, high}}, "raised high, cleared high, raised high"},
		{"back too soon but graver: at once", minute, []moment{{1, high}, {2, no}, {3, crit}}, "raised high, cleared high, raised critical"},
		{"cleared after a while without a finding", Settings{Update: time.Hour, Clear: 5 * time.Second},
			[]moment{{1, high}, {2, no}, {6, high}, {7, no}, {11, no}, {12, no}}, "raised high, cleared high"},
		{"a clock that steps back holds nothing", minute, []moment{{1000, high}, {1001, no}, {5, high}}, "raised high, cleared high, raised high"},
		{"a late reading tells nothing again", minute, []moment{{100, high}, {99, high}, {98, high}}, "raised high"},
		{"a late reading that is normal clears nothing", minute, []moment{{100, high}, {99, no}, {101, high}, {102, no}}, "raised high, cleared high"},
		{"a reading from before the clear came late", Settings{}, []moment{{10, high}, {11, no}, {10.5, high}}, "raised high, cleared high"},
		{"every finding is told where that is asked", Settings{}, []moment{{1, high}, {2, high}, {3, no}, {3, high}},
			"raised high, updated high, cleared high, raised high"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tw := newTower(tt.set)
			for _, m := range tt.moments {
				tw.at(m.second, m.severity)
			}
			if got := tw.story(); got != tt.want {
				t.Errorf("told %q, want %q", got, tt.want)
			}
			for i, r := range tw.records {
				if r.Seq != uint64(i+1) {
					t.Errorf("record %d has sequence %d", i, r.Seq)
				}
			}
			if tw.alarm.Active() != (len(tw.state) == 1) {
				t.Errorf("active %v with %d states kept", tw.alarm.Active(), len(tw.state))
			}
		})
	}
}

func TestEveryEventOfAnAlarmNamesItsRaise(t *testing.T) {
	tw := newTower(Settings{})
	for i := range 3 {
		tw.at(float64(10*i), detectors.High)
		tw.at(float64(10*i+1), detectors.Critical)
		tw.at(float64(10*i+2), detectors.None)
	}
	for i, r := range tw.records {
		if want := uint64(i/3*3 + 1); r.Alarm != want {
			t.Errorf("record %d belongs to alarm %d, want %d", r.Seq, r.Alarm, want)
		}
	}
}

func TestAlarmIsRestoredWithItsIdentity(t *testing.T) {
	before := newTower(Settings{Update: time.Minute})
	before.at(1, detectors.High)
	var kept []uplink.Entry
	for k, v := range before.state {
		kept = append(kept, uplink.Entry{Key: k, Value: v})
	}
	after := newTower(Settings{Update: time.Minute})
	after.next, after.epoch, after.origin.Device = 2, 0xbeef, "gw-2" // another buffer, another name
	a, err := Restore(kept).Alarm(after.channel.Name, Process)
	if err != nil {
		t.Fatal(err)
	}
	after.alarm = a
	after.at(2, detectors.High)
	if len(after.records) != 0 {
		t.Fatalf("a restart told again of what was raised: %s", after.story())
	}
	after.at(3, detectors.None)
	if after.story() != "cleared high" || after.records[0].Alarm != 1 {
		t.Fatalf("told %q of alarm %d, want the clear of alarm 1", after.story(), after.records[0].Alarm)
	}
	if want := `"alarm_id":"gw-1.000000000000feed.1"`; !strings.Contains(string(after.records[0].Body), want) {
		t.Errorf("the clear does not carry %s: %s", want, after.records[0].Body)
	}
}

// conforms holds bodies to the schema.
func conforms(t *testing.T, bodies ...[]byte) {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("event.json", doc); err != nil {
		t.Fatal(err)
	}
	valid, err := c.Compile("event.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		event, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		if err := valid.Validate(event); err != nil {
			t.Errorf("%v\n%s", err, body)
		}
	}
}

func TestEventsAreValidAndSayWhatHappened(t *testing.T) {
	tw := newTower(Settings{Update: time.Minute, ReAlarm: time.Second})
	tw.channel.Name = "pump\"1\\\x01\xff.températur"
	for i := range 40 {
		tw.at(float64(i)*7, detectors.Severity(i%5))
	}
	for class, traits := range []detectors.Traits{{Name: "ewma", Severity: detectors.Medium}, {Name: "silence", Severity: detectors.Low, Status: detectors.Failure}} {
		for reason := range detectors.NothingArrives + 1 {
			var a Alarm
			f := Finding{Time: 5e9, Seen: 1e9, Value: 1e-9, Quality: sensors.Uncertain, Traits: traits,
				Verdict: detectors.Verdict{Score: 1, Low: -1, High: math.Inf(1), Reason: reason}}
			tw.Find(&tw.channel, Class(class), &a, f)
			f.Verdict.Score = 0
			tw.Find(&tw.channel, Class(class), &a, f)
		}
	}
	for _, r := range tw.records {
		conforms(t, r.Body)
	}
}

func TestMessage(t *testing.T) {
	tw := newTower(Settings{})
	tw.at(10, detectors.Critical)
	tw.at(75.25, detectors.None)
	var got []string
	for _, r := range tw.records {
		var e struct{ Message string }
		if err := json.Unmarshal(r.Body, &e); err != nil {
			t.Fatal(err)
		}
		got = append(got, e.Message)
	}
	want := []string{
		"pump1.bearing_temp is above high: 84 Cel, the limit is 85 Cel",
		"pump1.bearing_temp is back to normal: 80 Cel after 1m5s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// An alarm that is withdrawn is not said to be back to normal: nobody knows.
func TestWithdrawnAlarmIsNotCalledNormal(t *testing.T) {
	tw := newTower(Settings{})
	tw.at(10, detectors.High)
	tw.Withdraw(&tw.channel, Process, &tw.alarm, 70e9)
	tw.Withdraw(&tw.channel, Process, &tw.alarm, 71e9) // it is at rest: nothing to tell
	if tw.story() != "raised high, cleared high" || tw.alarm.Active() || len(tw.state) != 0 {
		t.Fatalf("told %q, active %v, %d states kept", tw.story(), tw.alarm.Active(), len(tw.state))
	}
	for _, want := range []string{`"message":"pump1.bearing_temp is not judged any more, its alarm is withdrawn after 1m0s"`, `"quality":"BadOutOfService"`} {
		if !strings.Contains(string(tw.records[1].Body), want) {
			t.Errorf("%s is not in %s", want, tw.records[1].Body)
		}
	}
}

// State of another version, or with a byte too few, is refused and not guessed at.
func TestForeignStateIsRefused(t *testing.T) {
	tw := newTower(Settings{})
	tw.at(1, detectors.High)
	good := tw.state["process/pump1.bearing_temp"]
	for name, b := range map[string][]byte{"empty": {}, "short": good[:stateSize-1], "version": append([]byte{stateVersion + 1}, good[1:]...),
		"severity": append([]byte{stateVersion, 9}, good[2:]...)} {
		r := Restore([]uplink.Entry{{Key: "process/x", Value: b}})
		if a, err := r.Alarm("x", Process); err == nil || a.Active() {
			t.Errorf("%s: %v, active %v", name, err, a.Active())
		}
	}
}

// Whatever was restored and not asked for is an orphan, in each class.
func TestOrphans(t *testing.T) {
	r := Restore([]uplink.Entry{{Key: "process/a/b.c"}, {Key: "sensor/a/b.c"}, {Key: "process/kept"}, {Key: "nonsense/x"}})
	if _, err := r.Alarm("kept", Process); err == nil {
		t.Error("a state without bytes was taken")
	}
	channels, classes := r.Orphans()
	got := map[Class]string{}
	for i, c := range channels {
		got[classes[i]] = c
	}
	if diff := cmp.Diff(map[Class]string{Process: "a/b.c", Sensor: "a/b.c"}, got); diff != "" || len(channels) != 2 {
		t.Error(diff)
	}
}

func TestNumberIsWrittenForPeople(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 87.2: "87.2", 0.0123456: "0.01235", -3.5: "-3.5", math.Copysign(0, -1): "0", 1234.5: "1234", 99999: "99999",
		1e-7: "1e-07", 2.5e9: "2.5e+09", 0.1 + 0.2: "0.3"} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %q, want %q", v, got, want)
		}
	}
}

func FuzzRestore(f *testing.F) {
	tw := newTower(Settings{})
	tw.at(1, detectors.High)
	for _, v := range tw.state {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Restore([]uplink.Entry{{Key: "process/x.y", Value: b}}).Alarm("x.y", Process)
		if (err == nil) != a.Active() {
			t.Fatalf("error %v with an alarm that is active: %v", err, a.Active())
		}
		tw := newTower(Settings{})
		tw.alarm = a
		tw.at(2, detectors.None) // must not panic
	})
}

func BenchmarkEvent(b *testing.B) {
	tw := newTower(Settings{})
	tw.emit = func(uplink.Record, uplink.Entry) {}
	b.ReportAllocs()
	for i := range b.N {
		tw.at(float64(i), detectors.Severity(i%2)*detectors.High)
	}
}
