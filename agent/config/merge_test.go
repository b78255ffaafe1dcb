package config

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// folder writes files, by name, into a new folder and returns it.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const lone = "[kafka]\nbrokers = [\"127.0.0.1:9092\"]\ntimeout = \"20s\"\n[simulate.hall]\npumps = 2\n[limit.\"hall1.flow\"]\nlow = 1\n"

// A later file wins for a value, tables are merged whichever way they are
// written, a list is replaced, and it is told who won.
func TestMerge(t *testing.T) {
	dir := folder(t, map[string]string{
		"tocsin.toml":           strings.TrimSuffix(lone, "\n") + "\nhigh = 9", // no line end: files must not run together
		"conf.d/10-fleet.toml":  "[kafka]\ntimeout = \"30s\"\nbrokers = [\"127.0.0.2:9092\", \"127.0.0.3:9092\"]\n[spool]\ncommit = \"2s\"\nmax_age = \"1h\"\n",
		"conf.d/20-hall.toml":   "spool = {commit = \"3s\"}\n[simulate]\nhall = {pumps = 3}\nyard = {}\n[limit.\"hall1.flow\"]\nhigh = 8\n",
		"conf.d/.hidden.toml":   "[nonsense]\n",
		"conf.d/90.toml~":       "[nonsense]\n",
		"conf.d/90.toml.rpmnew": "[nonsense]\n",
	})
	path := filepath.Join(dir, "tocsin.toml")
	c, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	fleet, hall := filepath.Join(dir, "conf.d/10-fleet.toml"), filepath.Join(dir, "conf.d/20-hall.toml")
	for name, pair := range map[string][2]any{
		"won by the fleet":   {c.Kafka.Timeout.String(), "30s"},
		"list replaced":      {c.Kafka.Brokers, []string{"127.0.0.2:9092", "127.0.0.3:9092"}},
		"won by the last":    {c.Spool.Commit.String(), "3s"},
		"kept beside it":     {c.Spool.MaxAge.String(), "1h"},
		"inline over header": {c.Simulate["hall"].Pumps, 3},
		"added":              {c.Simulate["yard"].Pumps, 1},
		"of the first":       {*c.Limit["hall1.flow"].Low, 1.0},
		"of the last":        {*c.Limit["hall1.flow"].High, 8.0},
		"files":              {c.Files, []string{path, filepath.Join(dir, "conf.d"), fleet, hall}},
		"place of the last":  {c.Where("spool", "commit"), hall + ":1:10"},
		"place of the fleet": {c.Where("kafka", "timeout"), fleet + ":2:1"},
		"place of the first": {c.Where("limit", "hall1.flow", "low"), path + ":7:1"},
		"place of a table":   {c.Where("kafka", "codec"), path + ":1:2"},
		"overridden": {c.Overridden, []Override{
			{"kafka.timeout", fleet + ":2:1", path + ":3:1"},
			{"kafka.brokers", fleet + ":3:1", path + ":2:1"},
			{"spool.commit", hall + ":1:10", fleet + ":5:1"},
			{"simulate.hall.pumps", hall + ":3:9", path + ":5:1"},
			{`limit."hall1.flow".high`, hall + ":6:1", path + ":8:1"},
		}},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Every error names the file that it is in, and the line there; messages about
// two lines say of which file the other is.
func TestMergeErrors(t *testing.T) {
	dir := folder(t, map[string]string{
		"tocsin.toml":      lone + "comit = 1\n",
		"conf.d/1.toml":    "# nothing but this",
		"conf.d/2.toml":    "\n[spool]\nmax_age = 30d\n\n[limit.\"hall1.flow\"]\nhigh = 0.5",
		"conf.d/3.toml":    "",
		"conf.d/4.toml":    "[limit.\"hall1.flow\"\nhigh_high = 0.25\n[channel.\"hall9.flow\"]\nrange_low = 1\n",
		"conf.d/x.ignored": "?",
	})
	t.Chdir(dir)
	_, err := Load("tocsin.toml")
	var errs Errors
	if !errors.As(err, &errs) {
		t.Fatal(err)
	}
	want := []string{
		`tocsin.toml:8:1: unknown key "comit"`,
		"conf.d/2.toml:3:13: text must stand in quotes\n  3 | max_age = 30d\n",
		"conf.d/2.toml:6:8: high = 0.5 is not above low = 1 in line 7 of tocsin.toml",
		"conf.d/4.toml:1:20: the ] behind the table's name",
		"conf.d/4.toml:2:13: high_high = 0.25 is not above high = 0.5 in line 6 of conf.d/2.toml",
		`conf.d/4.toml:3:2: no source feeds the channel "hall9.flow"`,
	}
	if len(errs) != len(want) {
		t.Errorf("%d errors, want %d:\n%v", len(errs), len(want), err)
	}
	for i := range min(len(errs), len(want)) {
		if !strings.HasPrefix(errs[i].Error(), want[i]) {
			t.Errorf("%v\nwant %s", errs[i], want[i])
		}
	}
}

// What cannot be read is an error, not left out: it may hold the limit that
// matters.
func TestConfdUnreadable(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"conf.d: ":           {"conf.d": "a file"},
		"a.toml: this is a ": {"conf.d/a.toml/b": ""},
		"more than 64 files": func() map[string]string {
			many := map[string]string{}
			for i := range 65 {
				many[fmt.Sprintf("conf.d/%d.toml", i)] = ""
			}
			return many
		}(),
	} {
		files["tocsin.toml"] = lone
		if _, err := Load(filepath.Join(folder(t, files), "tocsin.toml")); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The hash is that of sha256sum for one file, and changes with each of several,
// with their names, and with where one ends and the next begins.
func TestHash(t *testing.T) {
	hash := func(files map[string]string) string {
		files["tocsin.toml"] = lone
		c, err := Load(filepath.Join(folder(t, files), "tocsin.toml"))
		if err != nil {
			t.Fatal(err)
		}
		return c.Hash
	}
	alone := hash(map[string]string{})
	if want := hashOf([]source{{"elsewhere", []byte(lone)}}); alone != want {
		t.Errorf("%s, want %s", alone, want)
	}
	seen := map[string]bool{alone: true}
	for _, files := range []map[string]string{
		{"conf.d/a.toml": ""}, {"conf.d/b.toml": ""}, {"conf.d/a.toml": "#"}, {"conf.d/a.toml": "", "conf.d/b.toml": "#"}, {"conf.d/a.toml": "#", "conf.d/b.toml": ""},
	} {
		h := hash(files)
		if seen[h] {
			t.Errorf("%v: the hash of another", files)
		}
		seen[h] = true
	}
}

// A file cut at its tables into several says what it said as a whole, wherever
// it is cut and whichever part comes first.
func TestMergeOfParts(t *testing.T) {
	texts := map[string]string{"hall": string(read(t, "testdata/hall.toml")), "example": string(uncommented(Example()))}
	for _, p := range Plants() {
		texts[p.Name] = string(p.Text)
	}
	site(t)
	header := regexp.MustCompile(`(?m)^\[`)
	random := rand.New(rand.NewPCG(1, 2))
	for name, text := range texts {
		whole, err := Parse("tocsin.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		cuts := header.FindAllStringIndex(text, -1)
		for range 8 {
			parts := make([]strings.Builder, 3)
			for i, cut := range cuts {
				end := len(text)
				if i+1 < len(cuts) {
					end = cuts[i+1][0]
				}
				if strings.HasPrefix(text[cut[0]:], "[[") {
					parts[0].WriteString(text[cut[0]:end]) // rows belong to one list
					continue
				}
				parts[random.IntN(3)].WriteString(text[cut[0]:end])
			}
			if strings.Contains(text, "[[") && !strings.Contains(parts[0].String(), `[mqtt."yard 2"]`) {
				continue
			}
			l := newLoader([]source{{"tocsin.toml", []byte(parts[0].String())}, {"conf.d/1.toml", []byte(parts[1].String())}, {"conf.d/2.toml", []byte(parts[2].String())}})
			got, err := l.load()
			if err != nil {
				t.Fatalf("%s:\n%v", name, err)
			}
			same := cmp.Options{cmpopts.IgnoreFields(Config{}, "Path", "Files", "Hash", "Warnings"), cmpopts.IgnoreUnexported(Config{})}
			if diff := cmp.Diff(whole, got, same); diff != "" {
				t.Fatalf("%s: %s", name, diff)
			}
		}
	}
}
