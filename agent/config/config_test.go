package config

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLoad(t *testing.T) {
	site(t)
	c, err := Load("hall.toml")
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	hall, limit := c.MQTT["hall"], c.Limit["pump1.bearing_temp"]
	for name, pair := range map[string][2]any{
		"unit in UCUM":             {hall.Topics[1].Unit, "Cel"},
		"unit by alias":            {hall.Topics[2].Unit, "/min"},
		"format by pointer":        {hall.Topics[0].Format, "json"},
		"format without":           {hall.Topics[1].Format, "number"},
		"default in a row":         {hall.Topics[0].Scale, 1.0},
		"default in a named table": {hall.KeepAlive, Duration(30 * time.Second)},
		"default in a table given": {c.Kafka.SASL.Mechanism, "SCRAM-SHA-512"},
		"default in one left out":  {c.Alarms.Update, Duration(time.Minute)},
		"client id":                {hall.ClientID, "tocsin-press-7-hall"},
		"rows by headers":          {c.MQTT["yard 2"].Topics[0].Channel, "yard.wind"},
		"certificate":              {c.Kafka.TLS.CA, filepath.Join(here, "certs/ca.pem")},
		"secret":                   {c.Kafka.SASL.PasswordFile, filepath.Join(here, "secrets/kafka")},
		"folder":                   {c.Spool.Dir, filepath.Join(here, "spool")},
		"csv":                      {c.CSV["old"].Path, filepath.Join(here, "data/log.csv")},
		"column of the machine":    {c.CSV["old"].Columns["t1"], "old.bearing_temp Cel"},
		"column of another":        {c.CSV["old"].Columns["v1"], "pump8.vibration"},
		"hexadecimal":              {*c.Channel["pump1.bearing_temp"].RangeHigh, 250.0},
		"two units":                {c.Channel["pump1.bearing_temp"].SilentAfter, Duration(90 * time.Minute)},
		"whole number":             {*limit.High, 75.0},
		"exponent":                 {*limit.HighHigh, 85.0},
		"limit not given":          {limit.Low, (*float64)(nil)},
		"fraction":                 {limit.OnDelay, Duration(1500 * time.Millisecond)},
		"detectors of a machine":   {c.DetectorsOf("pump1.bearing_temp").Names, []string{"limit", "ewma"}},
		"detectors by default":     {c.DetectorsOf("pump2.x").Auto, true},
		"place of a key":           {c.Where("limit", "pump1.bearing_temp", "high"), "hall.toml:42:1"},
		"place in a row":           {c.Where("mqtt", "hall", "topics", "1", "channel"), "hall.toml:17:31"},
		"place of a table":         {c.Where("limit", "pump1.bearing_temp", "low"), "hall.toml:41:2"},
		"place of nothing":         {c.Where("limits"), "hall.toml"},
		"length of the hash":       {len(c.Hash), 64},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A bare name of a secret is a systemd credential where there is one, and then
// stays bare: the credential is looked up anew at each use.
func TestCredential(t *testing.T) {
	site(t)
	folder := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", folder)
	// systemd shows an access list for the service's user as group rights.
	if err := os.WriteFile(filepath.Join(folder, "kafka"), []byte("hunter2"), 0o440); err != nil {
		t.Fatal(err)
	}
	text := "[kafka]\nbrokers = [\"a:1\"]\nsasl = {username = \"u\", password_file = \"kafka\"}\n[simulate.hall]\n"
	c, err := Parse("tocsin.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Kafka.SASL.PasswordFile; got != "kafka" {
		t.Errorf("password_file = %q", got)
	}
}

func TestLoadUnreadable(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"/dev/zero", dir, filepath.Join(dir, "none.toml"), filepath.Join(dir, "x", "y")} {
		_, err := Load(path)
		var errs Errors
		if !errors.As(err, &errs) || len(errs) != 1 || errs[0].File != path || errs[0].Line != 0 || errs[0].Message == "" {
			t.Errorf("Load(%s) = %v", path, err)
		}
	}
}

// A device that is called by the host's name must not share it with a fleet.
func TestDeviceOfHost(t *testing.T) {
	for host, doubtful := range map[string]bool{"raspberrypi": true, "RaspberryPi": true, "localhost": true, "moxa": true, "0a1b2c3d4e5f": true,
		"press-7": false, "RevPi12345": false, "raspberrypi-7": false} {
		l := newLoader([]source{{"x.toml", []byte(lone)}})
		l.hostname = host
		c, err := l.load()
		if err != nil {
			t.Fatal(err)
		}
		if c.Site.Device != host || (len(c.Warnings) > 0) != doubtful {
			t.Errorf("%s: device %q, warnings %v", host, c.Site.Device, c.Warnings)
		}
	}
	l := newLoader([]source{{"x.toml", []byte(lone + "[site]\ndevice = \"raspberrypi\"\n")}})
	if c, err := l.load(); err != nil || len(c.Warnings) > 0 {
		t.Error("a name that was written down is doubted")
	}
}

// A configuration without a file has no places, and no panic.
func TestDefaultHasNoPlaces(t *testing.T) {
	if c := Default(); c.Where("kafka", "brokers") != "" || c.CheckCertificates(time.Now()) != nil {
		t.Error("a place without a file")
	}
}

// Windows: a byte order mark and its line ends change nothing, columns included.
func TestWindowsText(t *testing.T) {
	text := "\ufeff[kafka]\r\nbrokers = [\"a:1\"]\r\ncodek = 1\r\n[simulate.hall]\r\n"
	_, err := Parse("x.toml", []byte(text))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 1 || errs[0].Line != 3 || errs[0].Col != 1 {
		t.Fatalf("%v", err)
	}
	if _, err := Parse("x.toml", []byte("\xff\xfe[\x00k\x00")); err == nil {
		t.Error("UTF-16 loads")
	}
}

func TestDurationAndSize(t *testing.T) {
	for text, want := range map[string]time.Duration{"0s": 0, "5ms": 5 * time.Millisecond, "1h30m": 90 * time.Minute, "90d": 90 * 24 * time.Hour, "1.5s": 1500 * time.Millisecond} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%q = %v, %v", text, time.Duration(d), err)
		}
		var again Duration
		if out, _ := d.MarshalText(); again.UnmarshalText(out) != nil || again != d {
			t.Errorf("%q is written %q", text, out)
		}
	}
	for _, text := range []string{"", "s", "5", "-5s", "5 s", "5s ", "1e3s", "300000d", "5S", "5m5"} {
		if new(Duration).UnmarshalText([]byte(text)) == nil {
			t.Errorf("duration %q is accepted", text)
		}
	}
	for text, want := range map[string]Size{"64B": 64, "64KiB": 64 << 10, "256MiB": 256 << 20, "1GiB": 1 << 30} {
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil || s != want || s.String() != text {
			t.Errorf("%q = %d %s, %v", text, s, s, err)
		}
	}
	for text, want := range map[string]time.Duration{"1 per week": 7 * 24 * time.Hour, "2 per year": 365 * 12 * time.Hour, "0.5 per day": 48 * time.Hour} {
		if got := (Detect{FalseAlarms: text}).FalseAlarmEvery(); got != want {
			t.Errorf("%q = %v", text, got)
		}
	}
}
