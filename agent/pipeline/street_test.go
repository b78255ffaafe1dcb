package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/detectors/silence"
	"tocsin/detectors/threshold"
	"tocsin/sensors"
	"tocsin/uplink"
)

// disk is a spool that only appends, and can be made to fail.
type disk struct {
	uplink.Spool
	mu      sync.Mutex
	records []uplink.Record
	commits []int
	fail    error
	at      []time.Time
}

func (d *disk) Append(_ context.Context, r []uplink.Record, _ []uplink.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		return d.fail
	}
	d.records, d.commits, d.at = append(d.records, r...), append(d.commits, len(r)), append(d.at, time.Now())
	return nil
}

func (d *disk) break_(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

// feed is a source whose runs a test writes down.
type feed func(ctx context.Context, run int, out *sensors.Writer) error

type fed struct {
	feed
	runs int
}

func (f *fed) Channels() []sensors.Channel {
	return []sensors.Channel{{Name: "pump1.temp", Unit: "Cel"}}
}
func (f *fed) Run(ctx context.Context, out *sensors.Writer) error {
	f.runs++
	return f.feed(ctx, f.runs, out)
}

// build makes a street whose one channel has a limit of 100, high, and 200, high_high.
func build(t *testing.T, f feed) (*Street, *disk) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	q := sensors.NewQueue(4, 8, 16)
	source := &fed{feed: f}
	w, err := q.Writer("test", source.Channels())
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{}
	keeper := NewKeeper(d, time.Second, 16, log)
	judge := &Judge{Queue: q, Log: log, Restored: alarms.Restore(nil),
		Bell: alarms.NewBell(alarms.Settings{Update: time.Hour}, alarms.Origin{Device: "gw"}, 1, 1, keeper.Emit),
		Watch: func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c, Machine: "pump1", Key: "pump1"}, Detectors: []detectors.Detector{
				threshold.New(threshold.Limits{HighHigh: 200, High: 100, Low: -100, LowLow: -200})}}
		}}
	return &Street{Queue: q, Sources: []*Source{{Name: "test", Source: source, Writer: w}}, Judge: judge, Keeper: keeper, Log: log, Grace: 28 * time.Second}, d
}

func put(ctx context.Context, out *sensors.Writer, values ...float64) {
	for _, v := range values {
		if out.Put(ctx, sensors.Sample{Time: sensors.Steady(), Value: v}) != nil {
			return
		}
	}
}

// balanced fails unless every reading is accounted for.
func balanced(t *testing.T, w *sensors.Writer) {
	t.Helper()
	if c := &w.Counters; c.Read.Load() != c.Judged.Load()+c.RefusedAll() {
		t.Errorf("read %d, judged %d, refused %d", c.Read.Load(), c.Judged.Load(), c.RefusedAll())
	}
}

func TestStopLosesNothingThatWasRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			for ctx.Err() == nil {
				put(ctx, out, 150, 50) // an alarm raised and cleared
				time.Sleep(100 * time.Microsecond)
			}
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		s.Run(ctx)
		balanced(t, s.Sources[0].Writer)
		if judged := s.Sources[0].Writer.Counters.Judged.Load(); judged < 900 || uint64(len(d.records)) != judged {
			t.Errorf("%d readings judged, %d events on disk: want one for each", judged, len(d.records))
		}
		for i, r := range d.records {
			if r.Seq != uint64(i+1) {
				t.Fatalf("event %d has sequence %d", i, r.Seq)
			}
		}
	})
}

func TestCriticalEventDoesNotWaitForTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			put(ctx, out, 150) // high: may wait a second
			time.Sleep(300 * time.Millisecond)
			put(ctx, out, 50, 250) // cleared; critical: takes all along at once
			time.Sleep(2 * time.Second)
			put(ctx, out, 50)
			<-ctx.Done()
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.Run(ctx)
		var took []time.Duration
		for _, at := range d.at {
			took = append(took, at.Sub(began).Round(100*time.Millisecond))
		}
		// The clear of the critical alarm keeps its severity: it does not wait either.
		want := []time.Duration{300 * time.Millisecond, 2300 * time.Millisecond}
		if !slices.Equal(took, want) || !slices.Equal(d.commits, []int{3, 1}) {
			t.Errorf("commits after %v of %v events, want after %v of [3 1]", took, d.commits, want)
		}
	})
}

func TestEventsWaitForADiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			for i := range 500 {
				put(ctx, out, float64(i%2)*150)
			}
			<-ctx.Done()
			return nil
		})
		d.fail = errors.New("no space left on device")
		time.AfterFunc(30*time.Second, func() {
			if s.Keeper.Trouble.Load() == nil {
				t.Error("the trouble is not shown")
			}
			d.break_(nil)
		})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		s.Run(ctx)
		balanced(t, s.Sources[0].Writer)
		if len(d.records) != 499 || s.Keeper.Trouble.Load() != nil {
			t.Errorf("%d events on disk, want 499; trouble %v", len(d.records), s.Keeper.Trouble.Load())
		}
	})
}

func TestStopEndsThoughTheDiskFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			put(ctx, out, 150)
			<-ctx.Done()
			return nil
		})
		d.fail = errors.New("input/output error")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		s.Run(ctx)
		if took := time.Since(began); took > time.Second+s.Grace+time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

func TestSourceIsRunAgainWithBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var starts []time.Duration
		s, _ := build(t, func(ctx context.Context, run int, out *sensors.Writer) error {
			starts = append(starts, time.Since(began))
			switch {
			case run == 3:
				panic("a defect")
			case run < 12:
				return fmt.Errorf("dial: connection refused")
			}
			put(ctx, out, 1)
			<-ctx.Done()
			return nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		s.Run(ctx)
		if len(starts) != 12 {
			t.Fatalf("started %d times, want 12", len(starts))
		}
		for i := 1; i < len(starts); i++ {
			limit := min(firstWait<<(i-1), longest)
			if pause := starts[i] - starts[i-1]; pause < limit/10 || pause > limit+limit/10 {
				t.Errorf("pause %d is %v, want between %v and %v", i, pause, limit/10, limit+limit/10)
			}
		}
		balanced(t, s.Sources[0].Writer)
	})
}

func TestRunReturnsWhenAllIsReadAndDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			put(ctx, out, 1, 150, 1)
			return nil
		})
		s.Once, s.Empty = true, func() bool { d.mu.Lock(); defer d.mu.Unlock(); return len(d.records) == 2 }
		s.Run(t.Context())
		if s.Sources[0].Status().State != "ended" {
			t.Errorf("source is %s", s.Sources[0].Status().State)
		}
	})
}

func TestSensorThatNeverSpeaksIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, _ *sensors.Writer) error {
			<-ctx.Done()
			return nil
		})
		s.Judge.Watch = func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		s.Run(ctx)
		if len(d.records) != 1 || d.records[0].Type != "tocsin.sensor.raised.v1" {
			t.Errorf("%d events, want the one that the sensor is silent", len(d.records))
		}
	})
}

// A source that is stuck in its driver must not take with it what others read.
func TestStopLeavesAStuckSourceBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			put(ctx, out, 150)
			time.Sleep(time.Hour) // whatever ctx says
			return errors.New("at last")
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		s.Run(ctx)
		if took := time.Since(began); took > time.Second+s.Grace {
			t.Errorf("the stop took %v", took)
		}
		if len(d.records) != 1 {
			t.Errorf("%d events on disk, want 1", len(d.records))
		}
		time.Sleep(time.Hour) // until it has returned after all
	})
}

func contains(b []byte, s string) bool { return bytes.Contains(b, []byte(s)) }
