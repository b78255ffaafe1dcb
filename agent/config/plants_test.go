package config

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// Every plant is a file that a site can begin with: it loads, nothing in it is
// doubtful, and the field engineer finds a remark beside what is not obvious.
func TestPlants(t *testing.T) {
	site(t)
	all := Plants()
	if len(all) != 5 {
		t.Fatalf("%d plants", len(all))
	}
	for _, p := range all {
		l := newLoader([]source{{p.Name + ".toml", p.Text}})
		l.hostname = "raspberrypi" // which must not matter
		c, err := l.load()
		if err != nil {
			t.Errorf("%s:\n%v", p.Name, err)
			continue
		}
		if len(c.Warnings) > 0 {
			t.Errorf("%s:\n%v", p.Name, c.Warnings)
		}
		if c.Site.Device == "raspberrypi" || len(c.Limit) == 0 || len(p.About) < 20 || strings.Contains(p.About, "\n") {
			t.Errorf("%s: device %q, %d limits, about %q", p.Name, c.Site.Device, len(c.Limit), p.About)
		}
		lines := bytes.Split(p.Text, []byte("\n"))
		remarks := slices.DeleteFunc(slices.Clone(lines), func(line []byte) bool { return !bytes.Contains(line, []byte("# ")) })
		if len(remarks)*5 < len(lines) {
			t.Errorf("%s: %d remarks in %d lines", p.Name, len(remarks), len(lines))
		}
	}
}

// Together the plants show what there is: each key of the sources and of the
// uplink that a site may need is used by one of them.
func TestPlantsDiffer(t *testing.T) {
	var text string
	for _, p := range Plants() {
		text += string(p.Text)
	}
	for _, key := range []string{"{1}", "{name}", "each =", "interval =", "time_format =", "scale =", "qos ", "wss://", "[kafka.tls]", "cert =", `"PLAIN"`, `"SCRAM-SHA-256"`,
		"server_name =", "follow      = true", "speed", "ignore", "columns", "silent_after", "stuck_after", "range_low", "max_rate", "[uplink.scores]", "[uplink.samples]",
		"listen =", "conf.d", "on_delay", "off_delay", "hysteresis", "severity", "detectors", "false_alarms", "learn ", "max_size", "commit", "clear "} {
		if !strings.Contains(text, key) {
			t.Errorf("no plant shows %s", key)
		}
	}
}
