package sensors_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/sensors"
)

// gauge is a Poller whose every step can fail.
type gauge struct {
	open, read, close error
	reads             int
	opened            bool
	at                []time.Duration
	start             time.Time
}

func (g *gauge) Channels() []sensors.Channel { return one }
func (g *gauge) Open(context.Context) error  { g.opened = g.open == nil; return g.open }
func (g *gauge) Close() error                { g.opened = false; return g.close }
func (g *gauge) Read(ctx context.Context, out *sensors.Writer) error {
	g.reads++
	g.at = append(g.at, time.Since(g.start))
	if g.read != nil {
		return g.read
	}
	return out.Put(ctx, value(float64(g.reads)))
}

func poll(t *testing.T, g *gauge, forHowLong time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), forHowLong)
	defer cancel()
	g.start = time.Now()
	q := sensors.NewQueue(100, 1, 1)
	return sensors.Poll(g, time.Second).Run(ctx, writer(t, q, "gauge"))
}

// Poll reads at once and then every interval, and closes the device at the end.
func TestPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gauge{}
		if err := poll(t, g, 3500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if len(g.at) != 4 || g.at[0] != 0 || g.at[3] != 3*time.Second || g.opened {
			t.Errorf("read at %v, left open: %v", g.at, g.opened)
		}
	})
}

func TestPollErrors(t *testing.T) {
	broken := errors.New("no answer")
	for name, g := range map[string]*gauge{"open": {open: broken}, "read": {read: broken}, "close": {close: broken}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if err := poll(t, g, time.Minute); !errors.Is(err, broken) || g.opened {
					t.Errorf("Run: %v, left open: %v", err, g.opened)
				}
			})
		})
	}
}

func TestQuality(t *testing.T) {
	for q, want := range map[sensors.Quality]string{
		sensors.Good: "Good", 0x00960000: "Good", sensors.Uncertain: "Uncertain",
		sensors.UncertainEngineeringUnit: "UncertainEngineeringUnitsExceeded",
		sensors.BadNoCommunication:       "BadNoCommunication", 0x80000001: "Bad", 0xC0000000: "Bad",
	} {
		if q.String() != want || q.IsGood() != strings.HasPrefix(want, "Good") || q.IsBad() != strings.HasPrefix(want, "Bad") {
			t.Errorf("%#x: %v, good %v, bad %v; want %s", uint32(q), q, q.IsGood(), q.IsBad(), want)
		}
	}
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range sensors.Reasons {
		if r.String() == "" || seen[r.String()] {
			t.Errorf("reason %d is called %q", r, r)
		}
		seen[r.String()] = true
	}
}
