package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var setting = regexp.MustCompile(`(?m)^#([^ :\n])`)

// uncommented is an example with every setting in it switched on.
func uncommented(text []byte) []byte {
	out := setting.ReplaceAll(text, []byte("$1"))
	return regexp.MustCompile(`(?m)^#  \{`).ReplaceAll(out, []byte("  {"))
}

// The example loads as it stands and with every setting switched on.
func TestExampleLoads(t *testing.T) {
	site(t)
	for name, text := range map[string][]byte{"as it stands": Example(), "all of it": uncommented(Example())} {
		l := newLoader([]source{{"tocsin.toml", text}})
		l.hostname = "press-7"
		c, err := l.load()
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
		} else if len(c.Warnings) > 0 {
			t.Errorf("%s:\n%v", name, c.Warnings)
		} else if name == "all of it" && (len(c.MQTT["plant"].Topics) != 6 || c.CSV["history"].Path == "") {
			t.Errorf("settings stay off: %+v", c.MQTT)
		}
	}
}

// What a commented setting shows is its default.
func TestExampleShowsDefaults(t *testing.T) {
	site(t)
	all, err := Parse("tocsin.toml", uncommented(Example()))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Agent.Listen = all.Agent.Listen // off unless given
	for name, pair := range map[string][2]any{
		"spool": {all.Spool, want.Spool}, "alarms": {all.Alarms, want.Alarms}, "agent": {all.Agent, want.Agent}, "detect": {all.Detect, want.Detect},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("[%s] shows %+v, the defaults are %+v", name, pair[0], pair[1])
		}
	}
}

// Every key, every source and every detector has its line in the example.
func TestExampleIsComplete(t *testing.T) {
	text := string(Example())
	all := map[string][]string{}
	homes(reflect.TypeFor[Config](), "", all)
	for key := range all {
		if !regexp.MustCompile(`\b` + key + `\b`).MatchString(text) {
			t.Errorf("the key %q is missing", key)
		}
	}
	for _, name := range DetectorNames() {
		if !strings.Contains(text, name+" (") {
			t.Errorf("the detector %q is missing", name)
		}
	}
}

// methods says which folder of detectors holds what a list names.
var methods = map[string][]string{"threshold": {"limit", "range"}, "mad": {"robust_z"}}

// A folder below sensors or detectors without an entry in the example is a
// source or method that nobody would find.
func TestEveryFolderIsInTheExample(t *testing.T) {
	for _, top := range []string{"sensors", "detectors"} {
		entries, err := os.ReadDir(filepath.Join("..", "..", top))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() || strings.HasSuffix(e.Name(), "test") || e.Name() == "testdata" {
				continue
			}
			names := methods[e.Name()]
			if names == nil {
				names = []string{e.Name()}
			}
			for _, name := range names {
				if !regexp.MustCompile(`(?m)^# ?\Q` + name + `\E:|\b\Q` + name + `\E \(`).Match(Example()) {
					t.Errorf("%s/%s: %q is not in the example", top, e.Name(), name)
				}
				if top == "detectors" && !slices.Contains(DetectorNames(), name) {
					t.Errorf("detectors/%s: %q is no name that a list may hold", e.Name(), name)
				}
			}
		}
	}
}

// The tags are read by reflection; one that does not parse would be zero.
func TestTagsParse(t *testing.T) {
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			if key := f.Tag.Get("toml"); key == "" || key == "-" {
				continue
			}
			if f.Tag.Get("doc") == "" {
				t.Errorf("%s.%s has no doc", typ.Name(), f.Name)
			}
			for _, tag := range []string{"default", "min", "max"} {
				value := f.Tag.Get(tag)
				zero := value == "" || value == "0" || value == "0s" || value == "false"
				if got := parsed(f.Type, value); !zero && got.IsZero() {
					t.Errorf("%s.%s: %s %q does not parse", typ.Name(), f.Name, tag, value)
				}
			}
			inner := f.Type
			for inner.Kind() == reflect.Pointer || inner.Kind() == reflect.Map || inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[Detectors]() {
				walk(inner)
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	if got := Default().Detect.FalseAlarmEvery(); got != 30*24*time.Hour {
		t.Errorf("false alarms by default every %v", got)
	}
}
