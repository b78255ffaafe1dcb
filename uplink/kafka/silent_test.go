package kafka_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

// A broker that takes connections and never answers does not hang a call, and
// cannot have stored what was never sent to it.
func TestSilentBroker(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	s := connect(kafka.Options{Brokers: []string{l.Addr().String()}, Timeout: 300 * time.Millisecond})(t, "events", nil)
	begun := time.Now()
	b := uplink.Batch{Lane: uplink.Lane{Topic: "events"}, Records: []uplink.Record{{}}}
	if out := s.Send(t.Context(), b); out.Result != uplink.Again || out.Unknown || !strings.Contains(out.Cure, "network") {
		t.Errorf("%+v", out)
	}
	if _, err := s.Producer(t.Context()); err == nil {
		t.Error("got a producer")
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// muffler is a listener whose connections can be made to swallow what the
// broker answers.
type muffler struct {
	net.Listener
	silent atomic.Bool
	after  int // answers that a connection still gets
}

type muffled struct {
	net.Conn
	m      *muffler
	writes int
}

func (m *muffler) Accept() (net.Conn, error) {
	conn, err := m.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &muffled{Conn: conn, m: m}, nil
}

func (c *muffled) Write(p []byte) (int, error) {
	if c.writes++; c.m.silent.Load() && c.writes > c.m.after {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// A broker that falls silent in the middle of a log-in, or over a batch, is
// given up on; the next attempt finds it well again. kafka-go alone would wait
// for the log-in for ever.
func TestBrokerFallsSilent(t *testing.T) {
	for name, after := range map[string]int{"log-in": 2, "batch": 0} {
		t.Run(name, func(t *testing.T) {
			m := &muffler{after: after}
			listen := func(network, address string) (net.Listener, error) {
				l, err := net.Listen(network, address)
				m.Listener = l
				return m, err
			}
			c := embedded(t, kfake.ListenFn(listen), kfake.EnableSASL(), kfake.Superuser("PLAIN", "edge", "secret"), kfake.SeedTopics(3, "events"))
			before := runtime.NumGoroutine()
			s := connect(kafka.Options{Brokers: c.ListenAddrs(), Timeout: 400 * time.Millisecond, SASL: &kafka.SASL{
				Mechanism: "PLAIN", Username: "edge", Password: password("secret"),
			}})(t, "events", wall)
			b := uplink.Batch{Lane: uplink.Lane{Topic: "events", Producer: uplink.Producer{ID: 1}}, Records: []uplink.Record{{Key: "a"}}}
			if name == "batch" { // over a connection that is there already
				if out := s.Send(t.Context(), b); out.Result != uplink.Acknowledged {
					t.Fatal(out)
				}
				b.Sequence++
			}
			m.silent.Store(true)
			begun := time.Now()
			if out := s.Send(t.Context(), b); out.Result != uplink.Again || out.Unknown != (name == "batch") {
				t.Errorf("while silent: %v, unknown %v", out, out.Unknown)
			}
			if took := time.Since(begun); took > time.Second {
				t.Errorf("took %v to give up", took)
			}
			m.silent.Store(false)
			if out := s.Send(t.Context(), b); out.Result != uplink.Acknowledged {
				t.Errorf("afterwards: %v", out)
			}
			_ = s.Close()
			if !settled(before) {
				t.Errorf("%d goroutines still wait for the silent broker", runtime.NumGoroutine()-before)
			}
		})
	}
}

func wall() (time.Time, bool) { return time.Now(), true }

// Sessions come and go; their goroutines go with them, and all with Close.
func TestCloseLeavesNothing(t *testing.T) {
	c := embedded(t, kfake.SeedTopics(3, "events"))
	before := runtime.NumGoroutine()
	s, err := kafka.New(kafka.Options{Brokers: c.ListenAddrs(), Topic: "events"})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if _, err := s.Partitions(t.Context(), "events"); err != nil {
			t.Fatal(err)
		}
	}
	if !settled(before + 10) {
		t.Errorf("%d goroutines more after 50 sessions", runtime.NumGoroutine()-before)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if !settled(before) {
		t.Errorf("%d goroutines more after Close", runtime.NumGoroutine()-before)
	}
}

// settled waits for goroutines to end until there are no more than most.
func settled(most int) bool {
	for range 100 {
		if runtime.NumGoroutine() <= most {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}
