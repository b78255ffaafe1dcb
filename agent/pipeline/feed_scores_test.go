package pipeline

import (
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/detectors/cusum"
	"tocsin/detectors/ewma"
	"tocsin/detectors/mad"
	"tocsin/detectors/rate"
)

// Scores say what the class's speaker said at its highest, how usual it was, and
// whether there is an alarm.
func TestScores(t *testing.T) {
	low, high := 10.0, 20.0
	process := says{detectors.Traits{Name: "ewma", Severity: detectors.Medium}, []detectors.Verdict{
		{Score: 0.1, Low: math.Inf(-1), High: 30}, {Score: 0.9, Low: low, High: high}, {Score: 0.5, High: 30}}}
	sensor := says{detectors.Traits{Name: "stuck", Severity: detectors.Low, Status: detectors.Failure}, []detectors.Verdict{{}, {Score: 0.2}, {}}}
	b := newBench(t, Watch{Detectors: []detectors.Detector{sensor, process}}, nil)
	p := &topic{}
	b.Feed = newFeed(p, 0, time.Minute)
	b.judge(0, 1, 2, 0)
	f := b.Feed
	got := delivered(t, f, p)
	want := []told{{Channel: "pump1.temp", Unit: "Cel", Count: 4,
		Process: &toldClass{Score: 0.9, Mean: 0.4, Low: &low, High: &high, Detector: "ewma", Over: 2, Alarm: b.watches[0].alarm[alarms.Process].Active()},
		Sensor:  &toldClass{Score: 0.2, Mean: 0.05, Low: new(float64), High: new(float64), Detector: "stuck"}}}
	if len(got) != 1 {
		t.Fatalf("%d messages", len(got))
	}
	if diff := cmp.Diff(want, got[0].Channels); diff != "" {
		t.Error(diff)
	}
	if m := p.messages[0]; string(m.Key) != "" || m.Type != "tocsin.scores.v1" || m.Source != "/acme/hall/gw" ||
		m.ID != "gw."+got[0].Instance+".scores.1" || m.Time != got[0].To.UnixNano() {
		t.Errorf("%q %q %q %q %v", m.Key, m.Type, m.Source, m.ID, m.Time)
	}
}

// pupil is a detector that still learns, or does not.
type pupil struct {
	says
	ready bool
}

func (l pupil) Ready() bool { return l.ready }

func TestScoresSayWhoLearns(t *testing.T) {
	for _, ready := range []bool{true, false} {
		done := says{detectors.Traits{Name: "limit"}, []detectors.Verdict{{Score: 0.1}}}
		b := newBench(t, Watch{Detectors: []detectors.Detector{done, pupil{done, true}, pupil{done, ready}}}, nil)
		p := &topic{}
		b.Feed = newFeed(p, 0, time.Minute)
		b.judge(0)
		if got := delivered(t, b.Feed, p); got[0].Channels[0].Learning == ready {
			t.Errorf("ready %v: %s", ready, p.messages[0].Value)
		}
	}
}

// A channel is asked for once, and what is not wanted costs nothing.
func TestOnlyWantedChannels(t *testing.T) {
	p, asked := &topic{}, 0
	f := NewFeed(FeedOptions{Publisher: p, Log: slog.New(slog.DiscardHandler), Samples: &Stream{Topic: "samples", Every: time.Second,
		Wants: func(name string) bool { asked++; return strings.HasPrefix(name, "pump1.") }}})
	a, b := channel("pump1.temp"), channel("hall.temp")
	for i := range int64(100) {
		f.give(a, i*1e8, 1)
		f.give(b, i*1e8, 1)
	}
	for _, m := range delivered(t, f, p) {
		if len(m.Channels) != 1 || m.Channels[0].Channel != "pump1.temp" {
			t.Errorf("%+v", m.Channels)
		}
	}
	if asked != 2 || len(p.messages) != 10 {
		t.Errorf("asked %d times for two channels; %d messages, want 10", asked, len(p.messages))
	}
}

// Memory is a fixed number of bytes a channel, and a fixed number of rows.
func TestFeedMemory(t *testing.T) {
	size := unsafe.Sizeof(member{}) + unsafe.Sizeof(slot[samples]{}) + unsafe.Sizeof(slot[scores]{})
	t.Logf("%d bytes a channel and its name (member %d, samples %d, scores %d); a row %d and %d", size, unsafe.Sizeof(member{}),
		unsafe.Sizeof(slot[samples]{}), unsafe.Sizeof(slot[scores]{}), unsafe.Sizeof(row[samples]{}), unsafe.Sizeof(row[scores]{}))
	if size > 512 {
		t.Errorf("a channel costs %d bytes", size)
	}
	p := &topic{}
	full := newFeed(p, time.Second, 0)
	w := channel("pump1.temp")
	for i := range int64(3 * rowsWaiting) {
		full.give(w, i*1e9, 1)
	}
	if got := len(full.samples.waiting); got != rowsWaiting+2 {
		t.Errorf("%d rows wait", got)
	}
	if all := delivered(t, full, p); all[0].Seq != 2 {
		t.Errorf("the first message after rows were dropped has sequence %d: no gap is seen", all[0].Seq)
	}
}

// both is a feed of both streams with a reading that never leaves its window.
func both() (*Feed, *watch, [alarms.Classes]int, [alarms.Classes]detectors.Verdict) {
	w := channel("pump1.temp")
	w.traits = []detectors.Traits{{Name: "ewma"}, {Name: "stuck"}}
	return newFeed(&topic{}, 10*time.Second, 10*time.Second), w, [alarms.Classes]int{0, 1}, [alarms.Classes]detectors.Verdict{{Score: 0.1}, {Score: 0.6}}
}

func TestAddDoesNotAllocate(t *testing.T) {
	f, w, best, verdicts := both()
	at := int64(0)
	for range 200_000 { // until no more rows find room
		at += 1e9
		f.add(w, at, 1, &best, &verdicts)
	}
	if n := testing.AllocsPerRun(10_000, func() { at += 1e9; f.add(w, at, 1, &best, &verdicts) }); n != 0 {
		t.Errorf("%v allocations a reading", n)
	}
}

// Of few channels read often and of many read rarely, whose accumulators no
// longer fit in the processor's cache.
func BenchmarkFeedAdd(b *testing.B) {
	for _, c := range []struct {
		name     string
		channels int
		samples  bool
		scores   bool
	}{{"samples", 100, true, false}, {"scores", 100, false, true}, {"both", 100, true, true}, {"both/10000", 10_000, true, true}} {
		b.Run(c.name, func(b *testing.B) {
			f, _, best, verdicts := both()
			watches := make([]*watch, c.channels)
			for i := range watches {
				w := channel("pump1.temp")
				w.traits = []detectors.Traits{{Name: "ewma"}, {Name: "stuck"}}
				m := f.join(w)
				if !c.samples {
					m.samples = nil
				}
				if !c.scores {
					m.scores = nil
				}
				watches[i] = w
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i, k := 0, 0; i < b.N; i, k = i+1, k+1 {
				if k == len(watches) {
					k = 0
				}
				f.add(watches[k], int64(i)*1e5, float64(i&1023), &best, &verdicts) // 10,000 readings a second
			}
		})
	}
}

// Learned detectors say when they know enough.
func TestLearnedDetectorsAreReadiers(t *testing.T) {
	l := detectors.Learning{Ready: 300, FalseAlarmRows: 20000}
	for _, d := range []detectors.Detector{ewma.New(l), mad.New(l), cusum.New(l), rate.New(l, 0)} {
		r, ok := d.(readier)
		if !ok || r.Ready() {
			t.Errorf("%s: ready before its first reading, or never", d.Traits().Name)
			continue
		}
		at, random := int64(0), rand.New(rand.NewPCG(4, 3))
		for ; at < 5000 && !r.Ready(); at++ {
			d.Judge(detectors.Window{Time: at * 1e9, Arrived: at * 1e9, Value: random.NormFloat64()})
		}
		if at < 300 || at == 5000 {
			t.Errorf("%s: ready after %d readings", d.Traits().Name, at)
		}
	}
}
