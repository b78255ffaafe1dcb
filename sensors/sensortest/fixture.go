package sensortest

import (
	"testing"
	"time"

	"tocsin/sensors"
)

// fixture is one test's source, device and feed.
type fixture struct {
	*testing.T
	Case
	*Running
	dev *Device
	n   int // frames made so far; the feeding goroutine's own
}

func (c Case) start(t *testing.T) *fixture {
	t.Helper()
	s, d := c.New(t)
	return &fixture{T: t, Case: c, Running: Start(t, s), dev: d}
}

// frame is one reading of each channel, with values and times that never were
// before.
func (f *fixture) frame() []sensors.Sample {
	frame := make([]sensors.Sample, len(f.Case.Channels))
	f.n++
	at := time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC).Add(time.Duration(f.n) * time.Second).UnixNano()
	for i := range frame {
		value := float64((f.n%9000)*2+i%2) + 0.25*float64(1+i%3)
		frame[i] = sensors.Sample{Time: at, Channel: sensors.ChannelID(i), Value: value}
	}
	return frame
}

func (f *fixture) feed(readings []sensors.Sample) {
	f.Helper()
	f.dev.Feed(f.T, readings)
}

// heard feeds frame after frame until the source has read one, judged or not.
func (f *fixture) heard() {
	f.Helper()
	for end := time.Now().Add(f.Patience); !f.read(1, 10*time.Millisecond); {
		f.flood(1)
		if time.Now().After(end) {
			f.Fatalf("nothing was read within %v; Run returned: %v", f.Patience, f.Err())
		}
	}
}

// read waits until the source has read n readings, and reports whether it has.
func (f *fixture) read(n uint64, within time.Duration) bool {
	for end := time.Now().Add(within); f.Writer.Counters.Read.Load() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// flood makes the device say frames at once, without anybody waiting for them.
func (f *fixture) flood(frames int) {
	if f.dev.Feed == nil { // it speaks by itself
		time.Sleep(5 * time.Millisecond)
		return
	}
	var many []sensors.Sample
	for range frames {
		many = append(many, f.frame()...)
	}
	f.feed(many)
}

// arrived reports whether the last reading of each channel is this frame's.
func (f *fixture) arrived(frame []sensors.Sample) bool {
	last := map[string]float64{}
	for _, s := range f.Samples() {
		last[f.Queue.Channel(s.Channel).Name] = s.Value
	}
	for _, s := range frame {
		if v, ok := last[f.Case.Channels[s.Channel].Name]; !ok || v != s.Value {
			return false
		}
	}
	return true
}

func (f *fixture) arrives(frame []sensors.Sample) {
	f.Helper()
	if !f.Until(f.Patience, func() bool { return f.arrived(frame) }) {
		f.Fatalf("after %v this has not arrived: %v\nRun returned: %v", f.Patience, frame, f.Err())
	}
}

// awake feeds frame after frame until one arrives: what a device says before the
// source listens is nobody's loss.
func (f *fixture) awake() {
	f.Helper()
	for end := time.Now().Add(f.Patience); ; {
		seen := len(f.Samples())
		var frame []sensors.Sample
		if f.dev.Feed != nil {
			frame = f.frame()
			f.feed(frame)
		}
		if f.Until(100*time.Millisecond, func() bool { return len(f.Samples()) > seen && f.arrived(frame) }) {
			return
		}
		if time.Now().After(end) {
			f.Fatalf("nothing arrived within %v; Run returned: %v", f.Patience, f.Err())
		}
	}
}

// mended waits for the source to notice that its device is broken, mends it, and
// wants readings again. The source may have returned an error that names the
// device, or recover by itself; it must not have ended.
func (f *fixture) mended() {
	f.Helper()
	seen := len(f.errors())
	for end := time.Now().Add(300 * time.Millisecond); len(f.errors()) == seen && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	if f.ended() {
		f.Fatal("Run returned nil although its device is broken")
	}
	f.dev.Mend(f.T)
	f.awake()
	for _, err := range f.errors() {
		if !named(err, f.dev.Name) {
			f.Errorf("Run returned %q, which does not name %q", err, f.dev.Name)
		}
	}
	f.finish()
}

// finish stops the source, drains the queue and holds the ledger equal.
func (f *fixture) finish() {
	f.Helper()
	f.Stop(f.T)
	f.Drain(f.T)
	f.Ledger(f.T)
}

// compare holds what arrived against what was fed: the same readings in the same
// order on each channel. What a polled device says twice counts once.
func (f *fixture) compare(got, want []sensors.Sample) {
	f.Helper()
	for i, ch := range f.Case.Channels {
		var g, w []sensors.Sample
		for _, s := range got {
			if f.Queue.Channel(s.Channel).Name != ch.Name {
				continue
			}
			if f.Polled && len(g) > 0 && g[len(g)-1].Value == s.Value {
				continue
			}
			g = append(g, s)
		}
		for _, s := range want {
			if int(s.Channel) == i {
				w = append(w, s)
			}
		}
		if f.Polled && len(g) == len(w)+1 { // still the frame before
			g = g[1:]
		}
		if len(g) != len(w) {
			f.Errorf("%s: %d readings arrived, want %d", ch.Name, len(g), len(w))
			continue
		}
		for j := range w {
			if g[j].Value != w[j].Value || f.Times && g[j].Time != w[j].Time {
				f.Errorf("%s: reading %d is %v, want %v", ch.Name, j, g[j], w[j])
				break
			}
			if own := g[j].Quality&sensors.DeviceTime != 0; own != f.Times {
				f.Errorf("%s: reading %d says whether its time is the device's: %v, want %v", ch.Name, j, own, f.Times)
				break
			}
		}
	}
}
