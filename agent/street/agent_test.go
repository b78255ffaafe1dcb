package street

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binaries holds what the tests build, until TestMain removes it.
var binaries string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "street")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var buildShipped = sync.OnceValues(func() (string, error) { return buildAgent("tocsin") })

// shipped is the agent as users get it; under the race detector it is watched
// too.
func shipped(t *testing.T) string {
	t.Helper()
	binary, err := buildShipped()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func buildAgent(name string, flags ...string) (string, error) {
	path := filepath.Join(binaries, name)
	args := append([]string{"build", "-o", path}, flags...)
	if raced {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "tocsin/agent")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, out)
	}
	return path, nil
}

// agent is the binary at work on one configuration, over many lives.
type agent struct {
	binary, dir string
	cmd         *exec.Cmd  // nil between two lives
	exited      chan error // what cmd.Wait said
	log         *os.File
	lives       []life
	deaths      []string // lives that ended though nobody had ended them
}

// newAgent writes the configuration into a folder of its own. The folder's name
// is short: a unix socket's path may have 107 bytes.
func newAgent(t *testing.T, binary, config string) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "tocsin")
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{binary: binary, dir: dir}
	if a.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "site.toml"), []byte(a.here(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.cmd != nil {
			a.kill()
		}
		a.log.Close()
		if t.Failed() {
			t.Logf("the agent's last words:\n%s", a.lastWords())
		}
		os.RemoveAll(dir)
	})
	return a
}

// here puts the agent's folder into a configuration.
func (a *agent) here(config string) string { return strings.ReplaceAll(config, "@DIR@", a.dir) }

// start begins a life.
func (a *agent) start(t *testing.T) {
	t.Helper()
	a.cmd = exec.Command(a.binary, "run", "--config", filepath.Join(a.dir, "site.toml"))
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a test that times out leaves no agent
	a.lives = append(a.lives, life{start: time.Now()})
	if err := a.cmd.Start(); err != nil {
		t.Fatalf("start the agent: %v", err)
	}
	cmd, exited := a.cmd, make(chan error, 1)
	a.exited = exited
	go func() { exited <- cmd.Wait() }()
}

// look notes it when the agent has died by itself.
func (a *agent) look() {
	if a.cmd == nil {
		return
	}
	select {
	case err := <-a.exited:
		a.deaths = append(a.deaths, fmt.Sprintf("the agent's life %d ended by itself: %v", len(a.lives), err))
		a.cmd = nil
	default:
	}
}

// kill ends a life with SIGKILL.
func (a *agent) kill() {
	a.lives[len(a.lives)-1].end = time.Now()
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Kill()
	<-a.exited
	a.cmd = nil
}

// stop ends the last life as systemd does: the agent must empty itself and
// exit with 0.
func (a *agent) stop() {
	a.look()
	if a.cmd == nil {
		return
	}
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(30*time.Second, func() { _ = a.cmd.Process.Kill() })
	err := <-a.exited
	switch {
	case !timer.Stop():
		a.deaths = append(a.deaths, "the agent was asked to stop and had not within 30 s")
	case err != nil:
		a.deaths = append(a.deaths, fmt.Sprintf("the agent was asked to stop: %v", err))
	}
	a.cmd = nil
}

// run runs one of the agent's other commands.
func (a *agent) run(t *testing.T, words ...string) string {
	t.Helper()
	out, err := exec.Command(a.binary, append(words, "--config", filepath.Join(a.dir, "site.toml"))...).CombinedOutput()
	if err != nil {
		t.Fatalf("tocsin %s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return string(out)
}

func (a *agent) lastWords() string {
	log, err := os.ReadFile(a.log.Name())
	if err != nil {
		return err.Error()
	}
	lines := bytes.Split(bytes.TrimSpace(log), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-60):], []byte("\n")))
}
