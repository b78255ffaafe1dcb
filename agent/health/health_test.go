package health

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"tocsin/agent/clock"
)

// plant is an agent that can be made ill.
type plant struct {
	*Monitor
	mu  sync.Mutex
	now Status // guarded by mu once a reporter runs
}

func newPlant() *plant {
	p := &plant{now: Status{
		Device: "gw-1", Site: "acme/hall", Config: Config{Path: "/etc/tocsin/tocsin.toml", Hash: "abc"},
		Judge: Judge{Channels: 2}, Buffer: Buffer{MaxBytes: 1000},
		Kafka:   Kafka{Connected: true, Since: time.Now(), Topic: "tocsin.events.v1", Partitions: 6},
		Sources: map[string]Source{"mqtt.hall": {State: "running", Since: time.Now(), Runs: 1}, "csv.log": {State: "running", Since: time.Now(), Runs: 1}},
		Feeds:   map[string]Feed{"scores": {Topic: "tocsin.scores.v1", Made: 3, Sent: 1, Dropped: map[string]uint64{"buffer_full": 2}}},
	}}
	// In a bubble of synctest it is the year 2000, in which no clock is set.
	set := clock.With(clock.Options{Wall: func() time.Time { return time.Now().AddDate(30, 0, 0) }})
	p.Monitor = NewMonitor(Agent{Version: "test", Boot: "boot-1", Clock: set, Look: p.look})
	p.Become(Running)
	return p
}

// look copies what the monitor may write into.
func (p *plant) look() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.now
	s.Sources = map[string]Source{}
	for name, src := range p.now.Sources {
		s.Sources[name] = src
	}
	return s
}

// change makes it ill, or well.
func (p *plant) change(how func(s *Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	how(&p.now)
}

func (p *plant) source(name string, how func(*Source)) {
	p.change(func(s *Status) {
		src := s.Sources[name]
		how(&src)
		s.Sources[name] = src
	})
}

func whats(s Status) string {
	var all []string
	for _, r := range s.Reasons {
		all = append(all, strings.TrimSpace(r.What+" "+r.Source))
	}
	return strings.Join(all, ", ")
}

// Every rule, just under and just over its bound.
func TestRules(t *testing.T) {
	now := time.Now()
	before := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	down := func(d time.Duration) Source { return Source{State: "waiting", Error: "refused", Down: before(d)} }
	sources := func(of ...Source) func(s *Status) {
		return func(s *Status) {
			s.Sources = map[string]Source{}
			for i, src := range of {
				s.Sources[string(rune('a'+i))] = src
			}
		}
	}
	well := Source{State: "running"}
	for _, tt := range []struct {
		name  string
		set   func(s *Status)
		want  string
		level Level
		ne107 string
	}{
		{"nothing", func(*Status) {}, "", OK, "normal"},
		{"judge slow", func(s *Status) { s.Judge.Idle = 29 }, "", OK, "normal"},
		{"judge stands", func(s *Status) { s.Judge.Idle = 31 }, "judge_stands", Failed, "failure"},
		{"judge stands at the stop", func(s *Status) { s.Judge.Idle, s.State = 31, Stopping }, "", OK, "normal"},
		{"disk", func(s *Status) { s.Trouble = "no space left on device" }, "disk_trouble", Failed, "failure"},
		{"one source just down", sources(down(29*time.Second), well), "", OK, "normal"},
		{"one source down", sources(down(31*time.Second), well), "source_down a", Degraded, "out_of_specification"},
		{"all sources down", sources(down(31*time.Second), down(time.Hour)), "all_sources_down, source_down a, source_down b", Failed, "failure"},
		{"one read to its end", sources(down(31*time.Second), Source{State: "ended"}), "source_down a", Degraded, "out_of_specification"},
		{"no source at all", sources(), "", OK, "normal"},
		{"other agent", func(s *Status) { s.Kafka.Rival = &Rival{Host: "gw-2", Since: now} }, "other_agent", Failed, "failure"},
		{"not told of other agents", func(s *Status) { s.Kafka.Unguarded = "no right" }, "", OK, "normal"},
		{"dropped long ago", func(s *Status) { s.Buffer.Dropped = map[string]map[string]uint64{"space": {"low": 9}} }, "", OK, "normal"},
		{"dropped", func(s *Status) { s.Buffer.DroppedHour = 1 }, "events_dropped", Failed, "failure"},
		{"overload", sources(Source{State: "running", overrun: 1}), "readings_dropped a", Degraded, "out_of_specification"},
		{"kafka holds", func(s *Status) { s.Kafka = Kafka{Error: "refused", Cure: "check", Since: now} }, "kafka_holding", Degraded, "out_of_specification"},
		{"kafka not yet", func(s *Status) { s.Kafka, s.Started = Kafka{}, *before(29 * time.Second) }, "", OK, "normal"},
		{"kafka never", func(s *Status) { s.Kafka, s.Started = Kafka{}, *before(31 * time.Second) }, "kafka_holding", Degraded, "out_of_specification"},
		{"buffer fills", func(s *Status) { s.Buffer.Bytes = 799 }, "", OK, "normal"},
		{"buffer filling", func(s *Status) { s.Buffer.Bytes = 800 }, "buffer_filling", Degraded, "maintenance_required"},
		{"buffer of unknown size", func(s *Status) { s.Buffer.Bytes, s.Buffer.MaxBytes = 800, 0 }, "", OK, "normal"},
		{"clock", func(s *Status) { s.Clock.Trust = "unset" }, "clock_unset", Degraded, "out_of_specification"},
		{"clock not synced", func(s *Status) { s.Clock.Trust = "unsynced" }, "", OK, "normal"},
		{"configuration", func(s *Status) { s.Config.Refused = "line 3" }, "configuration_refused", Degraded, "maintenance_required"},
		{"certificate lasts", func(s *Status) { s.Config.Expires = before(-15 * 24 * time.Hour) }, "", OK, "normal"},
		{"certificate near", func(s *Status) { s.Config.Expires = before(-13 * 24 * time.Hour) }, "certificate_expires", Degraded, "maintenance_required"},
		{"certificate and no clock", func(s *Status) { s.Config.Expires, s.Clock.Trust = before(time.Hour), "unset" }, "clock_unset", Degraded, "out_of_specification"},
		{"no memory", func(s *Status) { s.Judge.Forgets = true }, "forgets", Degraded, "maintenance_required"},
		{"status not sent yet", func(s *Status) { s.Reports = Sent{Since: before(time.Hour), Error: "timeout"} }, "", OK, "normal"},
		{"status not sent", func(s *Status) { s.Reports = Sent{Since: before(time.Hour), Error: "refused", Cure: "ask"} }, "status_not_sent", Degraded, "maintenance_required"},
		{"the gravest speaks", func(s *Status) { s.Config.Refused, s.Trouble = "line 3", "full" }, "disk_trouble, configuration_refused", Failed, "failure"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newPlant().now
			s.State, s.Started = Running, now
			tt.set(&s)
			judge(&s, now)
			if whats(s) != tt.want || s.Health != tt.level || s.NE107 != tt.ne107 {
				t.Errorf("%s, %s: %q; want %s, %s: %q", s.Health, s.NE107, whats(s), tt.level, tt.ne107, tt.want)
			}
			for _, r := range s.Reasons {
				if r.Problem == "" || r.Cure == "" {
					t.Errorf("no problem or no cure: %+v", r)
				}
			}
		})
	}
}

// The table is in the order of gravity, so that the first reason is the gravest.
func TestRulesAreInOrder(t *testing.T) {
	level := Failed
	for _, r := range rules() {
		if r.level > level {
			t.Errorf("%s stands below rules that are less grave", r.what)
		}
		level = r.level
	}
}

// Records, empty and full, are as the schema says, and the schema knows no key
// that a record cannot have.
func TestSchema(t *testing.T) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("status.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile("status.json")
	if err != nil {
		t.Fatal(err)
	}
	var full Status
	fill(reflect.ValueOf(&full).Elem())
	full.State, full.Health, full.NE107, full.Clock.Trust = Stopped, Failed, "failure", "unset"
	full.Reasons = nil
	for _, r := range rules() {
		full.Reasons = append(full.Reasons, Reason{r.what, "mqtt.hall", r.level, r.ne107.String(), time.Now(), "p", "c"})
	}
	full.Sources = map[string]Source{"mqtt.hall": full.Sources["x"]}
	src := full.Sources["mqtt.hall"]
	src.State = "waiting"
	full.Sources["mqtt.hall"] = src
	healthy := newPlant()
	for name, status := range map[string]Status{"healthy": healthy.Status(), "full": full} {
		body, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); err != nil {
			t.Errorf("%s: %#v\n%s", name, err, body)
		}
		if name == "full" {
			compare(t, "status", doc.(map[string]any), value)
		}
		var back Status
		if err := json.Unmarshal(body, &back); err != nil {
			t.Errorf("%s cannot be read back: %v", name, err)
		}
	}
}

// fill gives every field a value that is not left out.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Now()))
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		one := reflect.New(v.Type().Elem()).Elem()
		fill(one)
		v.SetMapIndex(reflect.ValueOf("x"), one)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint64, reflect.Uint8:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

// compare finds keys that the schema describes and the full record lacks.
func compare(t *testing.T, path string, schema map[string]any, value any) {
	t.Helper()
	if list, ok := value.([]any); ok {
		compare(t, path, schema["items"].(map[string]any), list[0])
		return
	}
	object, ok := value.(map[string]any)
	properties, described := schema["properties"].(map[string]any)
	if !ok || !described {
		return
	}
	for key, of := range properties {
		if _, ok := object[key]; !ok {
			t.Errorf("%s.%s is in the schema and never in a record", path, key)
		}
		compare(t, path+"."+key, of.(map[string]any), object[key])
	}
}

// A status line holds no source text: the first mistake, and how many there are.
func TestRefusedConfiguration(t *testing.T) {
	s := Status{}
	s.Config.Refused = "site.toml:47:2: unknown table \"uplnk\" in the file\n  47 | [uplnk.samples]\n     |  ^^^^^\n  cure: did you mean \"uplink\"?\nsite.toml:50:1: unknown key \"x\"\n  50 | x = 1"
	const want = "a newer configuration is refused, the one before stays: site.toml:47:2: unknown table \"uplnk\" in the file (and 1 more)"
	if got := refused(&s, time.Now()); len(got) != 1 || got[0].Problem != want {
		t.Errorf("%+v, want %q", got, want)
	}
}
