package cli

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"tocsin/agent/config"
	"tocsin/agent/pipeline"
	"tocsin/detectors"
	"tocsin/sensors"
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

// What check says of flash is what a save writes: the pages that bbolt takes for
// it, in the layout of pipeline.Memory.
func TestCostOfState(t *testing.T) {
	const channels = 50
	watches := taught(channels)
	db, err := bbolt.Open(filepath.Join(t.TempDir(), "state.db"), 0o600, &bbolt.Options{PageSize: 4096, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	save := func() (bytes int64) {
		err := db.Update(func(tx *bbolt.Tx) error {
			for _, w := range watches {
				b, err := tx.CreateBucketIfNotExists([]byte(w.Channel.Name))
				if err != nil {
					return err
				}
				for _, d := range w.Detectors {
					if l, ok := d.(detectors.Learner); ok {
						state, err := l.AppendBinary(nil)
						if err != nil {
							return err
						}
						if err := b.Put([]byte(d.Traits().Name), state); err != nil {
							return err
						}
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		stats := db.Stats()
		return stats.TxStats.GetPageAlloc()
	}
	first := save()
	if got := float64(save()-first) / channels; got < 0.8*channelState || got > 1.2*channelState {
		t.Errorf("a save writes %.0f bytes a channel, check says %.0f", got, float64(channelState))
	}
}

// What check says of memory covers what the detectors hold and as much again,
// which the garbage collector lets lie; it is not far beyond either.
func TestCostOfMemory(t *testing.T) {
	if raced {
		t.Skip("the race detector takes memory of its own")
	}
	const channels = 100
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	watches := taught(channels)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if got := float64(after.HeapAlloc-before.HeapAlloc) / channels; 2*got > 1.3*channelMemory || 2*got < 0.5*channelMemory {
		t.Errorf("a channel holds %.0f bytes, check says %.0f with what lies about", got, float64(channelMemory))
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
