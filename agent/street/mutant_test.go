package street

import (
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var mutants = flag.Bool("mutants", false, "run TestMutants and TestSoakMutants: agents with one line spoilt, which the tests must catch")

func shell(script string, args ...string) (string, error) {
	out, err := exec.Command("sh", append([]string{"-c", script}, args...)...).CombinedOutput()
	return string(out), err
}

// mutant builds an agent in whose source one piece of text is another. The
// sources themselves stay as they are.
func mutant(t *testing.T, file, from, to string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), from); n != 1 {
		t.Fatalf("%q stands %d times in %s, not once: choose another text", from, n, file)
	}
	dir := t.TempDir()
	spoilt := filepath.Join(dir, filepath.Base(file))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: spoilt}})
	if err != nil {
		t.Fatal(err)
	}
	for f, b := range map[string][]byte{
		spoilt:                             []byte(strings.Replace(string(source), from, to, 1)),
		filepath.Join(dir, "overlay.json"): overlay,
	} {
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := buildAgent(strings.ReplaceAll(t.Name(), "/", "-"), "-overlay", filepath.Join(dir, "overlay.json"))
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// TestMutants shows that the tests above notice what they are there for: each
// agent has one line spoilt, and none may pass.
func TestMutants(t *testing.T) {
	if !*mutants {
		t.Skip("takes minutes; go test ./agent/street -run TestMutants -mutants")
	}
	for _, m := range []struct {
		name, file, from, to string
		powerCut             bool
	}{
		{
			name: "does not sync", powerCut: true,
			file: "uplink/spool/options.go",
			from: "if o.Log == nil {", to: "o.NoSync = true\n\tif o.Log == nil {",
		},
		{
			name: "changes the members of a batch after a crash",
			file: "uplink/lane.go",
			from: "for _, b := range left {",
			to: "for _, b := range left {\n" +
				"_, _ = l.f.spool.Rewrite(ctx, b, 0, Producer{}, 0, false)\n" +
				"b, _ = l.f.spool.Next(ctx, b.Lane)",
		},
		{
			name: "sends under a new producer after a crash",
			file: "uplink/lane.go",
			from: "for _, b := range left {",
			to: "for _, b := range left {\n" +
				"b.Producer, _ = l.f.fresh(ctx, l, nil)",
		},
		{
			name: "forgets its alarms",
			file: "agent/cli/build.go",
			from: "alarms.Restore(state)", to: "alarms.Restore(state[:0])",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			var d *disk
			store := ""
			if m.powerCut {
				d = newDisk(t)
				store = d.dir
			}
			s := setScene(t, mutant(t, m.file, m.from, m.to), store)
			s.patience = 3 * time.Second
			r := s.killing(max(*kills, 4), 0, d)
			found := slices.Concat(r.wrong, r.missing)
			if len(found) == 0 {
				t.Errorf("an agent that %s went unnoticed: %v", m.name, r)
				return
			}
			t.Logf("an agent that %s was noticed %d times: %s", m.name, len(found), found[0])
		})
	}
}

// TestSoakMutants shows that TestSoak notices what only time, or a reload, brings
// to light.
func TestSoakMutants(t *testing.T) {
	if !*mutants {
		t.Skip("takes minutes; go test ./agent/street -run TestSoakMutants -mutants, on real servers")
	}
	const reload = "agent/cli/reload.go"
	for _, m := range []struct{ name, file, from, to, noticed string }{
		{
			name: "leaves a goroutine behind at each reload", noticed: "goroutines grew",
			file: reload, from: "said, err = a.apply(next)", to: "go func() { <-a.life.Done() }()\nsaid, err = a.apply(next)",
		},
		{
			name: "leaves its file open at each reload", noticed: "descriptors grew",
			file: reload, from: "func loadChecked(path string) (*config.Config, error) {",
			to: "func loadChecked(path string) (*config.Config, error) {\n_, _ = syscall.Open(path, syscall.O_RDONLY, 0)",
		},
		{
			name: "forgets what a source has read when its rows change", noticed: "source mqtt.hall says it read",
			file: "agent/pipeline/rewatch.go", from: "w.Counters.CarryOn(&was.Writer.Counters)", to: "_ = was",
		},
		{
			name: "applies half of a file that is wrong", noticed: "was never raised",
			file: reload, from: "next, err := loadChecked(running.Path)",
			to: "next, err := loadChecked(running.Path)\nif err != nil {\nhalf := *running\nhalf.Limit = nil\n_, _ = a.apply(&half)\n}",
		},
		{
			name: "miscounts what it judged", noticed: "source mqtt.hall: read",
			file: "agent/pipeline/judge.go", from: "from.Counters.Judged.Add(uint64(judged))", to: "from.Counters.Judged.Add(uint64(judged &^ 1))",
		},
	} {
		t.Run(m.name, func(t *testing.T) {
			s := newSoak(t)
			s.patience = 3 * time.Second
			r := s.soak(mutant(t, m.file, m.from, m.to), 0)
			found := slices.Concat(r.wrong, r.missing)
			if i := slices.IndexFunc(found, func(problem string) bool { return strings.Contains(problem, m.noticed) }); i < 0 {
				t.Errorf("an agent that %s went unnoticed: %q", m.name, first(5, found))
			} else {
				t.Logf("an agent that %s was noticed: %s", m.name, found[i])
			}
		})
	}
}
