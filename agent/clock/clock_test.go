package clock_test

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tocsin/agent/clock"
)

var today = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC)

// gateway is a machine whose clocks a test turns.
type gateway struct {
	*clock.Clock
	wall   time.Time
	steady int64
	uptime time.Duration
	synced bool
	log    bytes.Buffer
}

// boot starts a process ten seconds after the kernel, at that wall time.
func boot(wall time.Time) *gateway {
	g := &gateway{wall: wall, steady: wall.UnixNano(), uptime: 10 * time.Second}
	g.Clock = clock.With(clock.Options{
		Wall: func() time.Time { return g.wall }, Steady: func() int64 { return g.steady },
		Uptime: func() time.Duration { return g.uptime }, Synced: func() bool { return g.synced },
		Log: slog.New(slog.NewTextHandler(&g.log, nil)),
	})
	g.Read()
	return g
}

// pass lets time pass on all clocks.
func (g *gateway) pass(d time.Duration) {
	g.wall, g.steady, g.uptime = g.wall.Add(d), g.steady+int64(d), g.uptime+d
}

// set turns the wall clock, which a time service may have done.
func (g *gateway) set(to time.Time, synced bool) { g.wall, g.synced = to, synced }

func TestTrust(t *testing.T) {
	power := time.Unix(0, 0)
	for _, c := range []struct {
		name     string
		wall     time.Time
		synced   bool
		remember time.Time
		want     clock.Trust
		tls      time.Time
	}{
		{"no battery", power, false, time.Time{}, clock.Unset, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
		{"no battery, an earlier run knew the time", power, false, today, clock.Unset, today},
		{"a battery, no network", today, false, time.Time{}, clock.Unsynced, today},
		{"switched on where it was switched off", today.Add(-time.Hour), false, today, clock.Unset, today},
		{"a time service", today, true, time.Time{}, clock.Synced, today},
		{"a time service, after one that was ten years ahead", today, true, today.AddDate(10, 0, 0), clock.Synced, today},
		{"a time service that is mad", power, true, today, clock.Unset, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := boot(c.wall)
			g.Remember(c.remember)
			g.set(c.wall, c.synced)
			g.pass(2 * time.Second)
			if got := g.Trust(); got != c.want {
				t.Errorf("%v, want %v", got, c.want)
			}
			if now, trusted := g.Now(); trusted != (c.want != clock.Unset) || !now.Equal(g.wall) {
				t.Errorf("now %v, trusted %v", now, trusted)
			}
			if _, vouched := g.Vouched(); vouched != (c.want == clock.Synced) {
				t.Errorf("vouched %v", vouched)
			}
			if got := g.TLSTime().Sub(c.tls); got < 0 || got > 2*time.Second {
				t.Errorf("certificates are judged at %v, want %v", g.TLSTime(), c.tls)
			}
		})
	}
}

// A process that stands still between two looks at the clocks, as one does that
// is swapped out, has not seen a step.
func TestLongBetweenTwoClocks(t *testing.T) {
	g := boot(today)
	looks := 0
	c := clock.With(clock.Options{Steady: func() int64 { return g.steady }, Uptime: func() time.Duration { return g.uptime },
		Log: slog.New(slog.NewTextHandler(&g.log, nil)), Wall: func() time.Time {
			wall := g.wall
			if looks++; looks == 2 {
				g.pass(3 * time.Second)
			}
			return wall
		}})
	c.Read()
	for range 3 {
		if r := c.Read(); r.Wall(g.steady) != g.wall.UnixNano() {
			t.Errorf("now is told as %v, it is %v", time.Unix(0, r.Wall(g.steady)), g.wall)
		}
	}
	if g.log.Len() > 0 {
		t.Errorf("said: %s", &g.log)
	}
}

// A step is told once and in words; a time service that slows or hastens the
// clock makes none.
func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name string
		step time.Duration
		want string // empty: no step
	}{
		{"set for the first time", today.Sub(time.Unix(0, 0)), "20780 days forward"},
		{"an hour back", -time.Hour, "1h0m0s back"},
		{"a leap second", -time.Second, "1s back"},
		{"ten years ahead", today.AddDate(10, 0, 0).Sub(today), "3653 days forward"},
		{"the kernel's own unevenness", 20 * time.Millisecond, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := boot(today)
			moment := g.steady
			g.pass(time.Minute)
			g.set(g.wall.Add(c.step), false)
			r := g.Read()
			if want := moment + int64(c.step); c.want != "" && r.Wall(moment) != want {
				t.Errorf("the moment is told as %v, want %v", time.Unix(0, r.Wall(moment)), time.Unix(0, want))
			}
			if c.want == "" && r.Wall(moment) != moment {
				t.Error("a moment is told as another for nothing")
			}
			if r.Uptime(moment) != 10*time.Second || r.WallAt(10*time.Second) != r.Wall(moment) {
				t.Errorf("uptime %v, back %v", r.Uptime(moment), time.Unix(0, r.WallAt(10*time.Second)))
			}
			g.pass(time.Hour)
			g.Read()
			lines := strings.Count(g.log.String(), "\n")
			if want := min(len(c.want), 1); lines != want || !strings.Contains(g.log.String(), c.want) {
				t.Errorf("%d lines: %s", lines, &g.log)
			}
		})
	}
}

// Whatever the wall clock does, a moment of this boot is told within slack of
// what the wall clock would have shown, and uptime leads back to it exactly.
func TestAnySequenceOfSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 4))
	for range 200 {
		g := boot(time.Unix(0, r.Int64N(today.UnixNano())))
		for range 50 {
			g.pass(time.Duration(r.Int64N(int64(time.Hour))))
			switch r.IntN(4) {
			case 0:
				g.set(time.Unix(r.Int64N(4e9), 0), r.IntN(2) == 0)
			case 1:
				g.set(g.wall.Add(time.Duration(r.Int64N(4e9)-2e9)), g.synced)
			}
			now := g.Read()
			if off := time.Duration(now.Wall(g.steady) - g.wall.UnixNano()).Abs(); off > 250*time.Millisecond {
				t.Fatalf("now is told %v beside the wall clock", off)
			}
			ago := r.Int64N(int64(g.uptime))
			if now.WallAt(now.Uptime(g.steady-ago)) != now.Wall(g.steady-ago) || now.Uptime(g.steady) != g.uptime {
				t.Fatal("uptime does not lead back to the moment")
			}
		}
	}
}

// The kernel's own clocks: nothing has been set since the process began.
func TestKernel(t *testing.T) {
	c := clock.New()
	r := c.Read()
	if r.Wall(0) != 0 || r.Trust == clock.Unset {
		t.Errorf("shift %v, trust %v at %v", time.Duration(r.Wall(0)), r.Trust, time.Now())
	}
	if off := (r.Uptime(r.Steady) - clock.Uptime()).Abs(); off > time.Second {
		t.Errorf("uptime is %v off", off)
	}
	if n := testing.AllocsPerRun(1000, func() { c.Read() }); n != 0 {
		t.Errorf("%g allocations a reading", n)
	}
}
