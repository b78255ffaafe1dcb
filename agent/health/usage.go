package health

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// measure reads what the process takes of the gateway, from the kernel and from
// Go's runtime. What the kernel does not tell stays 0.
func measure() Usage {
	u := Usage{Goroutines: runtime.NumGoroutine()}
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) == nil {
		u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano()).Seconds()
	}
	u.RSS = field("/proc/self/status", "RssAnon:") << 10 // proc_pid_status(5), in KiB
	u.Flash = field("/proc/self/io", "write_bytes:")     // proc_pid_io(5): sent to the disk, or about to be
	if names, err := os.ReadDir("/proc/self/fd"); err == nil {
		u.Descriptors = len(names) - 1 // without the one that reads this folder
	}
	heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap)
	if heap[0].Value.Kind() == metrics.KindUint64 {
		u.Heap = int64(heap[0].Value.Uint64())
	}
	return u
}

// field is the number that follows a word at the beginning of a line.
func field(file, word string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte(word)); ok {
			words := bytes.Fields(rest)
			if len(words) == 0 {
				return 0
			}
			n, _ := strconv.ParseInt(string(words[0]), 10, 64) // 0 where it is none
			return n
		}
	}
	return 0
}

// rates fills in what is a difference: the CPU over the last minute or two, the
// flash over all that is remembered.
func (u *Usage) rates(minutes []minute, now time.Time) {
	const least = 10 * time.Second // a shorter look says little
	for i := len(minutes) - 1; i >= 0; i-- {
		if d := now.Sub(minutes[i].at); d >= least {
			u.CPUPercent = 100 * (u.CPU - minutes[i].usage.CPU) / d.Seconds()
			break
		}
	}
	if d := now.Sub(minutes[0].at); d >= least {
		u.MeasuredOver = d.Seconds()
		u.FlashPerDay = float64(u.Flash-minutes[0].usage.Flash) / d.Hours() * 24
	}
}
