package street

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// figures are what the agent was seen to use at one moment, from outside.
type figures struct {
	at          time.Duration // since the load began
	memory      float64       // MiB of its own: RssAnon, without mapped pages of the buffer
	goroutines  int
	threads     int
	descriptors int
	buffer      float64 // MiB
	files       int     // of the buffer
	cpu         time.Duration
}

func (f figures) String() string {
	return fmt.Sprintf("%5.0fs: memory %.1f MiB, goroutines %d, threads %d, descriptors %d, buffer %.2f MiB in %d files",
		f.at.Seconds(), f.memory, f.goroutines, f.threads, f.descriptors, f.buffer, f.files)
}

// middle is the median of every figure.
func middle(seen []figures) figures {
	of := func(get func(figures) float64) float64 {
		var list []float64
		for _, f := range seen {
			list = append(list, get(f))
		}
		return median(list)
	}
	whole := func(get func(figures) int) int { return int(of(func(f figures) float64 { return float64(get(f)) })) }
	return figures{
		memory:      of(func(f figures) float64 { return f.memory }),
		goroutines:  whole(func(f figures) int { return f.goroutines }),
		threads:     whole(func(f figures) int { return f.threads }),
		descriptors: whole(func(f figures) int { return f.descriptors }),
		buffer:      of(func(f figures) float64 { return f.buffer }),
		files:       whole(func(f figures) int { return f.files }),
		cpu:         seen[len(seen)-1].cpu,
	}
}

// measure looks at the agent's process, its buffer and its metrics.
func (a *agent) measure() (f figures, err error) {
	proc := fmt.Sprintf("/proc/%d/", a.cmd.Process.Pid)
	status, err := os.ReadFile(proc + "status")
	if err != nil {
		return f, err
	}
	for line := range strings.Lines(string(status)) {
		switch words := strings.Fields(line); words[0] {
		case "RssAnon:":
			kib, _ := strconv.Atoi(words[1])
			f.memory = float64(kib) / 1024
		case "Threads:":
			f.threads, _ = strconv.Atoi(words[1])
		}
	}
	descriptors, err := os.ReadDir(proc + "fd")
	if err != nil {
		return f, err
	}
	f.descriptors = len(descriptors)
	if f.cpu, err = cpuTime(proc); err != nil {
		return f, err
	}
	err = filepath.WalkDir(filepath.Join(a.dir, "spool"), func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if info, err := e.Info(); err == nil { // else it is gone by now
			f.files++
			f.buffer += float64(info.Size()) / (1 << 20)
		}
		return nil
	})
	if err != nil {
		return f, err
	}
	f.goroutines, err = a.goroutines()
	return f, err
}

// cpuTime is user and system time of all threads (proc(5), stat: utime, stime,
// in hundredths of a second).
func cpuTime(proc string) (time.Duration, error) {
	stat, err := os.ReadFile(proc + "stat")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	words, ticks := strings.Fields(after), 0
	for _, w := range words[11:13] {
		n, err := strconv.Atoi(w)
		if err != nil {
			return 0, fmt.Errorf("%sstat: %w", proc, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// goroutines is what the agent's metrics say.
func (a *agent) goroutines() (int, error) {
	answer, err := a.ask("/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Close()
	for lines := bufio.NewScanner(answer); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(n)
		}
	}
	return 0, fmt.Errorf("/metrics has no go_goroutines")
}

// ask gets a path from the agent's socket.
func (a *agent) ask(path string) (io.ReadCloser, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(a.dir, "socket"))
		}}}
	r, err := client.Get("http://tocsin" + path)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		r.Body.Close()
		return nil, fmt.Errorf("the agent answers %s with %s", path, r.Status)
	}
	return r.Body, nil
}
