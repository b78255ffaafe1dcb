package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tocsin/agent/health"
)

// asAgent makes this program, started again, the agent itself: what the demo
// shows is the same code that is shipped, in a process of its own.
const asAgent = "TOCSIN_DEMO_AGENT"

// child is the agent in a process of its own.
type child struct {
	binary string // the shipped binary, or empty: this program again
	config string
	socket string
	cmd    *exec.Cmd
	exited chan error
}

func (c *child) start() error {
	name := c.binary
	if name == "" {
		var err error
		if name, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program to start it as the agent: %w", err)
		}
	}
	c.cmd = exec.Command(name, "run", "--config", c.config)
	c.cmd.Env = append(os.Environ(), asAgent+"=1", "GOMAXPROCS=1")
	// A group of its own, so that Ctrl-C at the terminal stops the demonstration,
	// which then stops the agent; and no agent outlives a demonstration that died.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(c.config), "agent.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the agent's log: %w", err)
	}
	defer log.Close() // the child has its own
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	c.exited = make(chan error, 1)
	go func(cmd *exec.Cmd, exited chan error) { exited <- cmd.Wait() }(c.cmd, c.exited)
	return nil
}

// kill ends the child as a power cut would.
func (c *child) kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return fmt.Errorf("kill the agent: %w", err)
	}
	if err := <-c.exited; err == nil {
		return errors.New("the agent stopped by itself before it could be killed")
	}
	return nil
}

// stop ends the child as systemd would.
func (c *child) stop() error {
	if c.cmd == nil || c.cmd.Process == nil {
		return nil
	}
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop the agent: %w", err)
	}
	select {
	case err := <-c.exited:
		return err
	case <-time.After(30 * time.Second):
		return errors.Join(errors.New("the agent did not stop within 30 s"), c.kill())
	}
}

// gone reports whether the child has ended by itself.
func (c *child) gone() bool {
	select {
	case err := <-c.exited:
		c.exited <- err
		return true
	default:
		return false
	}
}

// status is what the agent says of itself.
func (c *child) status() (s health.Status, err error) {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
		}}}
	r, err := client.Get("http://tocsin/status")
	if err != nil {
		return s, err
	}
	defer r.Body.Close() // only read from
	if err := json.NewDecoder(r.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("read the agent's status: %w", err)
	}
	return s, nil
}

// waiting is how many events are not yet delivered.
func (c *child) waiting() (int, error) {
	s, err := c.status()
	return int(s.Pending) + int(s.Buffer.Waiting), err
}

// usage is what a process has used so far.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // RssAnon, bytes: mapped files belong to the page cache
}

// measure reads /proc of the child.
func (c *child) measure() (u usage, err error) {
	dir := "/proc/" + strconv.Itoa(c.cmd.Process.Pid)
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	// The name in brackets may hold anything; user and system time are the
	// 12th and 13th field after it, in hundredths of a second (proc(5)).
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return u, fmt.Errorf("read %s/stat: %w", dir, err)
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	status, err := os.Open(dir + "/status")
	if err != nil {
		return u, err
	}
	defer status.Close()
	for lines := bufio.NewScanner(status); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "RssAnon:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil {
				return u, fmt.Errorf("read %s/status: %w", dir, err)
			}
			u.rss = kib << 10
		}
	}
	return u, nil
}
