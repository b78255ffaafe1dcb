package cli

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/config"
	"tocsin/agent/pipeline"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// taught makes the detectors of n channels and lets them learn.
func taught(n int) (all []pipeline.Watch) {
	cfg := config.Default()
	noise := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		w := watch(cfg, sensors.Channel{Name: fmt.Sprintf("pump%d.vibration", i)})
		for at := range int64(2000) {
			window := detectors.Window{Time: at * int64(time.Second), Arrived: at * int64(time.Second), Value: 2 + noise.NormFloat64()}
			for _, d := range w.Detectors {
				d.Judge(window)
			}
		}
		all = append(all, w)
	}
	return all
}

// What check says of flash is what a judge that stops writes into state.db.
func TestCostOfState(t *testing.T) {
	const channels = 50
	memory, err := pipeline.OpenMemory(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer memory.Close()
	run := func(watches []pipeline.Watch) (bytes int64) {
		queue := sensors.NewQueue(4, channels, channels)
		var names []sensors.Channel
		var samples []sensors.Sample
		for i, w := range watches {
			names = append(names, w.Channel.Channel)
			samples = append(samples, sensors.Sample{Channel: sensors.ChannelID(i), Value: 2})
		}
		out, err := queue.Writer("s", names)
		if err != nil {
			t.Fatal(err)
		}
		if err := out.Put(t.Context(), samples...); err != nil {
			t.Fatal(err)
		}
		queue.Close()
		keeps := pipeline.Judge{Queue: queue, Memory: memory, Restored: alarms.Restore(nil), Log: slog.New(slog.DiscardHandler),
			Bell:  alarms.NewBell(alarms.Settings{}, alarms.Origin{}, 1, 1, func(uplink.Record, uplink.Entry) {}),
			Watch: func(c sensors.Channel) pipeline.Watch { return watches[slices.Index(names, c)] }}
		before := written(t)
		keeps.Run()
		return written(t) - before
	}
	run(taught(channels))
	if got := float64(run(taught(channels))) / channels; got < 0.8*channelState || got > 1.2*channelState {
		t.Errorf("a save writes %.0f bytes a channel, check says %.0f", got, float64(channelState))
	}
}

// written is how many bytes this process has handed to write(2) and its like
// (proc_pid_io(5)).
func written(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "wchar: ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.ParseInt(line, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What check says of memory covers what the detectors hold and as much again,
// which the garbage collector lets lie; names and routes come on top of it.
func TestCostOfMemory(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory of its own")
	}
	const channels = 500
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	watches := taught(channels)
	runtime.GC()
	runtime.ReadMemStats(&after)
	got := 2 * float64(after.HeapAlloc-before.HeapAlloc) / channels
	if got > channelMemory || got < 0.75*channelMemory {
		t.Errorf("a channel takes %.0f bytes with what lies about, check says %.0f", got, float64(channelMemory))
	}
	runtime.KeepAlive(watches)
}

func TestVolume(t *testing.T) {
	for bytes, want := range map[float64]string{0: "0 B", 7: "7 B", 184: "180 B", 996: "1.0 kB", 1234: "1.2 kB", 16500: "16 kB", 994000: "990 kB", 2.07e9: "2.1 GB", 5e15: "5000 TB"} {
		if got := volume(bytes); got != want {
			t.Errorf("%v: %s, want %s", bytes, got, want)
		}
	}
	for v, want := range map[float64]string{0: "0", 0.04321: "0.0432", 1.0: "1", 12.34: "12.3", 999.6: "1000", 75000: "75000"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 12345 * time.Microsecond: "12.3ms", 1000300 * time.Microsecond: "1s", 90 * time.Second: "1m30s"} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// Every command defines its flags before it does anything, or asking who has a
// flag would run it.
func TestHelpDoesNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, cmd := range commands() {
		var out, failed strings.Builder
		if code := cmd.main([]string{"-h"}, IO{strings.NewReader(""), &out, &failed}); code != exitOK || failed.Len() > 0 || !strings.HasPrefix(out.String(), "usage: tocsin "+cmd.name) {
			t.Errorf("%s -h: code %d, %q, %q", cmd.name, code, out.String(), failed.String())
		}
	}
}

// What --live has heard is in every row that depends on the number of channels.
func TestCostsOfFoundChannels(t *testing.T) {
	cfg := config.Default()
	cfg.Uplink.Scores = &config.Scores{Topic: "s", Every: config.Duration(time.Second)}
	f := feed{name: "mqtt.hall", found: []string{"{1}.vibration"}}
	s := &site{cfg: cfg, feeds: []feed{f}}
	before := s.costs()
	f.heard = true
	for i := range 12 {
		f.channels = append(f.channels, sensors.Channel{Name: fmt.Sprintf("pump%d.vibration", i)})
	}
	s.feeds = []feed{f}
	after := s.costs()
	if s.learned() != 12 || after[len(after)-1].what != "flash" || before[len(before)-1].what != "a channel found later" {
		t.Errorf("%d learned, before %v, after %v", s.learned(), before, after)
	}
	for i, row := range after {
		if row.what != "status to Kafka" && row.what != "CPU" && row.usual == before[i].usual {
			t.Errorf("%s is the same: %s", row.what, row.usual)
		}
	}
}
