package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected texts anew")

// site makes a folder with the files that the configurations in testdata name,
// and goes there.
func site(t *testing.T) {
	t.Helper()
	configs, _ := filepath.Glob("testdata/*.toml")
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range configs {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		put(filepath.Base(file), string(text), 0o644)
	}
	put("secrets/mqtt", "hunter2\n", 0o600)
	put("secrets/kafka", "hunter2\n", 0o600)
	put("secrets/open", "hunter2\n", 0o644)
	put("secrets/empty", "", 0o600)
	put("data/log.csv", "time;t1;v1\n2026-01-01 00:00:00;20.5;1.2\n", 0o644)
	put("data/winter.csv", "time;T1\n2026-01-01 00:00:00;1020.5\n", 0o644)
	cert, key := keyPair(t)
	_, other := keyPair(t)
	put("certs/ca.pem", cert, 0o644)
	put("certs/gw.pem", cert, 0o644)
	put("certs/gw.key", key, 0o600)
	put("certs/open.key", key, 0o640)
	put("certs/other.key", other, 0o600)
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	t.Chdir(dir)
}

// Every testdata/*.bad.toml is told as its .bad.txt says.
func TestBadFiles(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.bad.toml")
	if len(files) < 100 {
		t.Fatalf("%d bad files, want 40 or more", len(files))
	}
	home, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	site(t)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(strings.TrimSuffix(name, ".bad"), func(t *testing.T) {
			c, err := Load(name + ".toml")
			if err == nil || c != nil {
				t.Fatal("it loads")
			}
			got := err.Error() + "\n"
			if strings.Contains(got, "hunter2") {
				t.Error("the message holds a secret")
			}
			golden(t, filepath.Join(home, "testdata", name+".txt"), got)
		})
	}
}

// Every testdata/*.warn.toml loads, and is doubted as its .warn.txt says.
func TestWarnings(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.warn.toml")
	if len(files) < 7 {
		t.Fatalf("%d files", len(files))
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".warn.toml"), func(t *testing.T) {
			text := read(t, file)
			home, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			site(t)
			l := newLoader([]source{{filepath.Base(file), text}})
			l.hostname = "press-7"
			c, err := l.load()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(home, strings.TrimSuffix(file, ".toml")+".txt"), c.Warnings.Error()+"\n")
		})
	}
}

// golden compares a text with the expected one, or writes that anew.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

// TestSevenMistakes counts, so that an update of the expected texts cannot hide
// that one of them is no longer found.
func TestSevenMistakes(t *testing.T) {
	_, err := Load("testdata/seven.bad.toml")
	var bad Errors
	if !errors.As(err, &bad) || len(bad) != 7 {
		t.Errorf("%d mistakes found, want all 7:\n%v", len(bad), err)
	}
}
