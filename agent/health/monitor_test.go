package health

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/agent/clock"
	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

// A source that is tried again every minute, and runs for a moment each time, is
// down all the while; its first reading, or a quarter of a minute, brings it back.
func TestSourceIsDownThroughItsAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant()
		become := func(state string) {
			p.source("mqtt.hall", func(s *Source) { s.State, s.Since = state, time.Now() })
			p.glance()
		}
		began := time.Now().AddDate(30, 0, 0) // the plant's clock
		for range 4 {
			become("waiting")
			time.Sleep(9 * time.Second)
			become("running")
			time.Sleep(time.Second)
		}
		s := p.glance()
		if whats(s) != "source_down mqtt.hall" || !s.Reasons[0].Since.Equal(began) {
			t.Errorf("after four attempts in 40 s: %+v", s.Reasons)
		}
		age := 0.5
		p.source("mqtt.hall", func(s *Source) { s.Latest = &age })
		if s := p.glance(); s.Health != OK || s.Sources["mqtt.hall"].Down != nil {
			t.Errorf("with a reading: %+v", s.Reasons)
		}
		become("waiting")
		time.Sleep(time.Minute)
		age = 60 // the reading from before
		become("running")
		if s := p.glance(); s.Health != Degraded {
			t.Errorf("running again, without a reading: %v", s.Health)
		}
		time.Sleep(wellAfter)
		if s := p.glance(); s.Health != OK {
			t.Errorf("running for a while: %+v", s.Reasons)
		}
	})
}

// Once the clock is set, all that happened before is told as it has it now.
func TestTimesAreToldByTheClockAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant()
		var ahead time.Duration
		p.agent.Clock = clock.With(clock.Options{Wall: func() time.Time { return time.Now().Add(ahead) }})
		p.source("mqtt.hall", func(s *Source) { s.State, s.Since = "waiting", time.Now() })
		p.glance()
		time.Sleep(time.Hour)
		ahead = 27 * 365 * 24 * time.Hour
		s := p.glance()
		began := time.Now().Add(ahead - time.Hour)
		for what, at := range map[string]time.Time{"started": s.Started, "source": s.Sources["mqtt.hall"].Since, "down": *s.Sources["mqtt.hall"].Down,
			"kafka": s.Kafka.Since, "reason": s.Reasons[0].Since, "sent": s.SentAt.Add(-time.Hour)} {
			if !at.Equal(began) {
				t.Errorf("%s: told as %v, was at %v", what, at, began)
			}
		}
		if s := p.glance(); !s.Sources["mqtt.hall"].Down.Equal(began) {
			t.Errorf("told again: %v", s.Sources["mqtt.hall"].Down)
		}
	})
}

// What was dropped before this start, or more than an hour ago, is no reason any
// more; what was dropped since is.
func TestLastHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant()
		dropped := func(n uint64) { p.now.Buffer.Dropped = map[string]map[string]uint64{"space": {"low": n}} }
		queueFull := func(n uint64) {
			p.source("mqtt.hall", func(s *Source) { s.Refused = map[string]uint64{"queue_full": n, "malformed": 7} })
		}
		dropped(5)
		queueFull(5)
		if s := p.Status(); s.Health != OK {
			t.Fatalf("dropped before the start: %+v", s.Reasons)
		}
		minutes := func(n int) (s Status) {
			for range n * 12 {
				time.Sleep(5 * time.Second)
				s = p.glance()
			}
			return s
		}
		minutes(10)
		dropped(8)
		queueFull(9)
		at := time.Now().AddDate(30, 0, 0) // the plant's clock
		s := minutes(1)
		if s.Buffer.DroppedHour != 3 || whats(s) != "events_dropped, readings_dropped mqtt.hall" || !strings.HasPrefix(s.Reasons[1].Problem, "4 readings") {
			t.Errorf("dropped now: %d, %+v", s.Buffer.DroppedHour, s.Reasons)
		}
		if since := s.Reasons[0].Since.Sub(at); since > 5*time.Second {
			t.Errorf("since %v too late", since)
		}
		if s := minutes(57); s.Buffer.DroppedHour != 3 {
			t.Errorf("58 minutes later: %d", s.Buffer.DroppedHour)
		}
		if s := minutes(5); s.Health != OK {
			t.Errorf("63 minutes later: %+v", s.Reasons)
		}
		if n := len(p.minutes); n > 62 {
			t.Errorf("%d minutes are kept", n)
		}
	})
}

// How long the buffer lasts is told only while it fills.
func TestBufferLasts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlant()
		p.now.Buffer = Buffer{MaxBytes: 1_000_000, Appended: 1000, Waiting: 1000, Bytes: 100_000}
		p.Status()
		time.Sleep(100 * time.Second)
		p.now.Buffer.Appended, p.now.Buffer.Waiting, p.now.Buffer.Bytes = 2000, 2000, 200_000
		if s := p.Status(); s.Buffer.Lasts != nil {
			t.Errorf("while Kafka takes events it lasts %v s", *s.Buffer.Lasts)
		}
		p.now.Kafka = Kafka{Error: "away"}
		// 10 events of 100 bytes a second into what is left of 900 kB
		if s := p.Status(); s.Buffer.Lasts == nil || *s.Buffer.Lasts < 699 || *s.Buffer.Lasts > 701 {
			t.Errorf("lasts %v", s.Buffer.Lasts)
		}
	})
}

func TestUsageOfThisProcess(t *testing.T) {
	u := measure()
	if u.RSS < 1<<20 || u.Heap < 1<<10 || u.Goroutines < 2 || u.Descriptors < 3 || u.Descriptors > 1000 {
		t.Errorf("%+v", u)
	}
	u.rates([]minute{{at: time.Now().Add(-100 * time.Second), usage: Usage{CPU: u.CPU - 5, Flash: u.Flash - 1000}}}, time.Now())
	if u.CPUPercent < 4.9 || u.CPUPercent > 5.1 || u.FlashPerDay < 860_000 || u.FlashPerDay > 870_000 {
		t.Errorf("5 s of 100 are %v %%, 1000 bytes in them %v a day", u.CPUPercent, u.FlashPerDay)
	}
}

func TestGuard(t *testing.T) {
	const nobody = ""
	log := slog.New(slog.DiscardHandler)
	other := func(instance string, n int) string {
		return fmt.Sprintf(`{"instance":%q,"host":"other","boot":"b","n":%d}`, instance, n)
	}
	mine := "mine"
	for _, tt := range []struct {
		name  string
		heard []string // mine: this one's own last
		rival bool
	}{
		{"the first ever", []string{nobody, mine, mine}, false},
		{"after another", []string{other("old", 7), mine, mine}, false},
		{"Kafka forgets", []string{mine, mine, nobody, mine}, false},
		{"Kafka goes back", []string{other("old", 7), mine, other("old", 7), mine}, false},
		{"somebody else's words", []string{nobody, "hello", mine}, false},
		{"another starts later", []string{nobody, mine, other("new", 1)}, true},
		{"another was there before", []string{other("old", 7), mine, other("old", 8)}, true},
		{"another, every second time", []string{other("old", 7), mine, other("old", 8), mine, other("old", 9), mine, mine}, true},
		{"another has gone", []string{other("old", 7), other("old", 8), mine, mine, mine}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := guard{me: newNote("me", "boot")}
			last := ""
			for _, heard := range tt.heard {
				if heard == mine {
					heard = last
				}
				last = g.next()
				g.hear(heard, nil, log)
			}
			if (g.rival != nil) != tt.rival {
				t.Errorf("other agent: %+v", g.rival)
			}
		})
	}
	g := guard{me: newNote("me", "boot")}
	g.hear("", errors.New("timeout"), log)
	if g.unguarded != "" {
		t.Error("what passes is told:", g.unguarded)
	}
	g.hear("", uplink.Outcome{Result: uplink.Hold, Err: errors.New("refused"), Cure: "ask"}, log)
	if g.unguarded != "refused; ask" {
		t.Errorf("without the right: %q", g.unguarded)
	}
	if g.hear("", nil, log); g.unguarded != "" {
		t.Errorf("with the right: %q", g.unguarded)
	}
}

// Two agents with one name, on one Kafka, both notice within two minutes of
// their own; where one goes, the other notices that too. An agent that takes the
// place of a dead one sees nothing.
func TestTwoAgentsWithOneName(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "status"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	start := func() *Reporter {
		sink, err := kafka.New(kafka.Options{Brokers: c.ListenAddrs(), Topic: "status", Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sink.Close() })
		return &Reporter{Monitor: newPlant().Monitor, Sink: sink, Log: slog.New(slog.DiscardHandler),
			Address: func() Address { return Address{"status", "gw-1", "/gw-1"} }}
	}
	rival := func(r *Reporter) string {
		s := r.Monitor.Status()
		if s.Kafka.Unguarded != "" {
			t.Fatal(s.Kafka.Unguarded)
		}
		if s.Kafka.Rival == nil {
			return ""
		}
		if whats(s) != "other_agent" {
			t.Errorf("health: %+v", s.Reasons)
		}
		return s.Kafka.Rival.Instance
	}
	dead, one, two := start(), start(), start()
	turn := func(rs ...*Reporter) {
		for _, r := range rs {
			r.claim(t.Context())
		}
	}
	turn(dead, dead, one, one, one)
	if got := rival(one); got != "" {
		t.Errorf("a dead agent's note is taken for a living one's: %s", got)
	}
	turn(two, one, two)
	if rival(one) != two.Monitor.instance || rival(two) != one.Monitor.instance {
		t.Errorf("they notice %q and %q", rival(one), rival(two))
	}
	turn(one, one, one, one)
	if got := rival(one); got != "" {
		t.Errorf("the other has gone and is still noticed: %s", got)
	}
}
