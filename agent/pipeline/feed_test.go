package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// topic is a publisher that remembers, and can be made to fail or to block.
type topic struct {
	mu       sync.Mutex
	messages []uplink.Message
	topics   []string
	tries    int
	fail     func(try int) error   // nil: never
	block    func(context.Context) // before it takes or refuses anything; nil: never
}

func (p *topic) Publish(ctx context.Context, name string, messages []uplink.Message) error {
	p.mu.Lock()
	block := p.block
	p.mu.Unlock()
	if block != nil {
		block(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tries++
	if err := ctx.Err(); err != nil {
		return err
	}
	if p.fail != nil {
		if err := p.fail(p.tries); err != nil {
			return err
		}
	}
	for _, m := range messages {
		m.Value = bytes.Clone(m.Value)
		p.messages, p.topics = append(p.messages, m), append(p.topics, name)
	}
	return nil
}

// body is what a message of either stream says.
type body struct {
	Device, Instance, Machine, Clock string
	Seq                              uint64
	From, To                         time.Time
	Channels                         []told
}

type told struct {
	Channel, Unit          string
	Count, Late            uint32
	OutOfRange             uint32 `json:"out_of_range"`
	Min, Max, Mean         float64
	Deviation, First, Last float64
	Time                   time.Time
	Process, Sensor        *toldClass
	Learning               bool
}

type toldClass struct {
	Score, Mean float64
	Low, High   *float64
	Detector    string
	Over        uint32
	Alarm       bool
}

func (p *topic) bodies(t *testing.T) (all []body) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.messages {
		var b body
		if err := json.Unmarshal(m.Value, &b); err != nil {
			t.Fatalf("%v\n%s", err, m.Value)
		}
		all = append(all, b)
	}
	return all
}

func newFeed(p uplink.Publisher, samples, scores time.Duration) *Feed {
	o := FeedOptions{Publisher: p, Log: slog.New(slog.DiscardHandler), Origin: alarms.Origin{Device: "gw", Site: "acme/hall", Source: "/acme/hall/gw", Version: "1"}}
	if samples > 0 {
		o.Samples = &Stream{Topic: "samples", Every: samples}
	}
	if scores > 0 {
		o.Scores = &Stream{Topic: "scores", Every: scores}
	}
	return NewFeed(o)
}

// channel is a watch without detectors.
func channel(name string) *watch {
	w := &watch{Watch: Watch{Channel: alarms.Channel{Channel: sensors.Channel{Name: name, Unit: "Cel"}, Machine: "pump1", Key: "acme/hall/pump1"}}}
	w.Low, w.High = -5e6, 5e6
	return w
}

var nobody = [alarms.Classes]int{-1, -1}

// give adds a reading that arrives when it was taken.
func (f *Feed) give(w *watch, at int64, value float64) {
	w.arrived = at
	f.add(w, at, value, &nobody, &[alarms.Classes]detectors.Verdict{})
}

// delivered runs the feed until everything that was given is published.
func delivered(t *testing.T, f *Feed, p *topic) []body {
	t.Helper()
	f.finish()
	f.Run(t.Context())
	ledger(t, f)
	return p.bodies(t)
}

// ledger fails unless every row is accounted for.
func ledger(t *testing.T, f *Feed) {
	t.Helper()
	for name, s := range f.Stats() {
		if s.Made != s.Sent+s.Dropped() {
			t.Errorf("%s: made %d, sent %d, dropped %d: %+v", name, s.Made, s.Sent, s.Dropped(), s)
		}
	}
}

// Every window is what a person would compute from its readings by hand, begins
// at a multiple of its length and is told of once.
func TestWindowsAgainstBruteForce(t *testing.T) {
	type window struct {
		channel string
		from    int64
	}
	r := rand.New(rand.NewPCG(4, 1))
	for every, begin := range map[time.Duration]int64{100 * time.Millisecond: -1e18 + 7, time.Second: -300e9 + 3, 7 * time.Second: 1.7e18} { // before 1970, across it, after
		p := &topic{}
		f := newFeed(p, every, 0)
		want := map[window][]float64{}
		outside, last := map[window]uint32{}, map[window]int64{}
		for c := range 5 {
			w := channel(fmt.Sprintf("pump1.c%d", c))
			at, level := begin, math.Pow(10, float64(c))*100
			for range 800 {
				at += r.Int64N(int64(every) / 5 * int64(c+1)) // 0 too: several at one time
				if r.IntN(200) == 0 {
					at += r.Int64N(int64(10 * every)) // windows without a reading
				}
				k := window{w.Channel.Name, at - (at%int64(every)+int64(every))%int64(every)}
				if r.IntN(50) == 0 {
					f.give(w, at, 1e7)
					outside[k]++
					want[k] = append([]float64{}, want[k]...)
					continue
				}
				value := level + r.NormFloat64()
				f.give(w, at, value)
				want[k], last[k] = append(want[k], value), at
			}
		}
		for _, b := range delivered(t, f, p) {
			if b.To.Sub(b.From) != every {
				t.Fatalf("from %v to %v, want %v", b.From, b.To, every)
			}
			for _, c := range b.Channels {
				k := window{c.Channel, b.From.UnixNano()}
				values, known := want[k]
				if !known {
					t.Fatalf("a window of %v that has no readings, or was told of already", k)
				}
				delete(want, k)
				byHand := told{Channel: k.channel, Unit: "Cel", Count: uint32(len(values)), OutOfRange: outside[k]}
				if n := float64(len(values)); n > 0 {
					byHand.Min, byHand.Max, byHand.First, byHand.Last = slices.Min(values), slices.Max(values), values[0], values[len(values)-1]
					byHand.Time = time.Unix(0, last[k]).UTC()
					for _, v := range values {
						byHand.Mean += v / n
					}
					for _, v := range values {
						byHand.Deviation += (v - byHand.Mean) * (v - byHand.Mean) / max(n-1, 1)
					}
					byHand.Deviation = math.Sqrt(byHand.Deviation)
				}
				if diff := cmp.Diff(byHand, c, cmpopts.EquateApprox(2e-8, 1e-8)); diff != "" {
					t.Fatalf("%v: by hand -, told +\n%s", k, diff)
				}
			}
		}
		if len(want) > 0 {
			t.Errorf("windows of %v: %d were not told of", every, len(want))
		}
	}
}

// Whatever times readings carry, each is counted in one row, and no window of a
// channel that did not step back is told of twice.
func TestLateReadings(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	for name, next := range map[string]func(at int64) int64{
		"jitter":   func(at int64) int64 { return at + 1e8 - r.Int64N(3e9)*int64(r.IntN(10)/9) },
		"any time": func(int64) int64 { return int64(r.Uint64()) },
		"extremes": func(int64) int64 { return []int64{math.MinInt64, math.MaxInt64, 0, -1}[r.IntN(4)] },
	} {
		p := &topic{}
		f := newFeed(p, time.Second, 0)
		w, at, told := channel("pump1.temp"), int64(1.7e18), map[time.Time]int{}
		for i := range 3000 {
			w.arrived = int64(i) * 1e8
			at = next(at)
			f.add(w, at, 1, &nobody, &[alarms.Classes]detectors.Verdict{})
			f.tick(w.arrived)
		}
		count, late := 0, uint64(0)
		for _, b := range delivered(t, f, p) {
			for _, c := range b.Channels {
				told[b.From]++
				count, late = count+int(c.Count), late+uint64(c.Late)
			}
		}
		if s := f.Stats()["samples"]; count != 3000 || late != s.Late || name == "jitter" && (late < 100 || len(told) != int(s.Made)) {
			t.Errorf("%s: %d readings in rows, %d late, counted %d, %d windows in %d rows", name, count, late, s.Late, len(told), s.Made)
		}
	}
}

// A late reading goes into the present window and is counted there; one from
// before a clock was set back begins anew.
func TestOneLateReading(t *testing.T) {
	p := &topic{}
	f := newFeed(p, 10*time.Second, 0)
	w := channel("pump1.temp")
	const s = int64(time.Second)
	for _, at := range []int64{12, 15, 21, 19, 22, 3600, 3601, 41, 42} {
		f.give(w, at*s, float64(at))
	}
	var got []string
	for _, b := range delivered(t, f, p) {
		for _, c := range b.Channels {
			got = append(got, fmt.Sprintf("%d: %d, %d late, %v to %v", b.From.Unix(), c.Count, c.Late, c.Min, c.Max))
		}
	}
	want(t, got, "10: 2, 0 late, 12 to 15", "20: 3, 1 late, 19 to 22", "3600: 4, 2 late, 41 to 3601")
}

// A clock that is set back by an hour keeps a channel for one window, not for an hour.
func TestClockStepsBack(t *testing.T) {
	p := &topic{}
	f := newFeed(p, 10*time.Second, 0)
	w := channel("pump1.temp")
	for i := range int64(100) {
		w.arrived = i * 1e9
		at := 7200e9 + i*1e9
		if i >= 25 {
			at -= 3600e9
		}
		f.add(w, at, 1, &nobody, &[alarms.Classes]detectors.Verdict{})
		f.tick(w.arrived)
	}
	late := uint32(0)
	for _, b := range delivered(t, f, p) {
		if late += b.Channels[0].Late; b.From.Unix() < 7200 && b.Channels[0].Late > 0 {
			t.Errorf("%d late in the window of %d s", b.Channels[0].Late, b.From.Unix())
		}
	}
	if late == 0 || late > 12 {
		t.Errorf("%d readings late, want those until the window was over", late)
	}
}

// A channel that falls silent closes its window by the tick; one that goes on
// is not closed before its time.
func TestSilenceClosesTheWindow(t *testing.T) {
	p := &topic{}
	f := newFeed(p, 10*time.Second, 0)
	w := channel("pump1.temp")
	w.arrived = 500e9 // taken 3 s after a window's begin
	f.add(w, 13e9, 1, &nobody, &[alarms.Classes]detectors.Verdict{})
	over := int64(507e9) + int64(slack)
	if f.tick(over - 1); f.Stats()["samples"].Made != 0 {
		t.Error("closed before its time")
	}
	f.tick(over)
	f.tick(over + 100e9)
	if got := f.Stats()["samples"].Made; got != 1 {
		t.Errorf("%d rows, want 1", got)
	}
	delivered(t, f, p)
}
