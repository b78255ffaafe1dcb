package cli

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A journal that is restarted closes the agent's stderr. The agent goes on.
func TestAgentOutlivesItsLog(t *testing.T) {
	dir := t.TempDir()
	config, socket := filepath.Join(dir, "site.toml"), filepath.Join(dir, "s")
	text := fmt.Sprintf("[kafka]\nbrokers = [\"127.0.0.1:1\"]\n[spool]\ndir = %q\n[agent]\nsocket = %q\n[simulate.pump]\n", dir, socket)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tocsin", "run", "--config", config)
	journal, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(journal.Close(), cmd.Start()); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if body, err := ask(socket, "/status"); err == nil {
			_ = body.Close()
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the agent ended with %v", err)
	}
}

func TestSocketIsTakenOverOnlyFromTheDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tocsin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // as a killed agent
	if _, err := listenAt(path); err == nil || !strings.Contains(err.Error(), "another agent answers") {
		t.Errorf("a living agent's socket: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if l, err = listenAt(path); err != nil {
		t.Fatalf("a dead agent's socket: %v", err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", info.Mode(), err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(path, "/status"); !errors.Is(err, errNobody) {
		t.Errorf("nobody listens: %v", err)
	}
	long := filepath.Join(t.TempDir(), strings.Repeat("a", 108))
	if _, err := listenAt(long); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("a long path: %v", err)
	}
	if _, err := ask(long, "/status"); !errors.Is(err, errNobody) {
		t.Errorf("a long path: %v", err)
	}
}

// The journal gets priorities and no times, everybody else the contrary, also
// where the variable is inherited.
func TestLogFormat(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	at := info.Sys().(*syscall.Stat_t)
	write := func() string {
		t.Helper()
		if err := f.Truncate(0); err != nil {
			t.Fatal(err)
		}
		log := newLog(f)
		log.Info("one")
		log.With("source", "mqtt.hall").Warn("two\nlines", "n", 2)
		log.WithGroup("g").Error("three", "level", 3)
		log.Log(t.Context(), slog.LevelDebug, "hidden")
		text, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(bytes.TrimLeft(text, "\x00"))
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", at.Dev, at.Ino))
	want := "<6>msg=one\n<4>msg=\"two\\nlines\" source=mqtt.hall n=2\n<3>msg=three g.level=3\n"
	if got := write(); got != want {
		t.Errorf("journal: got %q\nwant %q", got, want)
	}
	for _, other := range []string{"", "1:1", "nonsense"} {
		t.Setenv("JOURNAL_STREAM", other)
		if got := write(); strings.Count(got, "time=") != 3 || !strings.Contains(got, "level=WARN") || strings.Contains(got, "<") {
			t.Errorf("JOURNAL_STREAM=%q: %q", other, got)
		}
	}
}
