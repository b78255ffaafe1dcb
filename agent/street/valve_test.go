package street

import (
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"
)

// valve stands before a Kafka broker and takes it away: by refusing, or by
// letting requests through and keeping the answers, so that the agent cannot
// know what was stored.
type valve struct {
	net.Listener
	mu    sync.Mutex
	state flow
	conns map[*valveConn]bool
}

type flow int

const (
	open  flow = iota
	muted      // requests pass, answers do not
	shut       // every connection is cut, no new one lives
)

func newValve(l net.Listener) *valve {
	return &valve{Listener: l, conns: map[*valveConn]bool{}}
}

// set changes the flow. Connections that lost an answer end, and a shut valve
// ends them all.
func (v *valve) set(f flow) {
	v.mu.Lock()
	var ended []*valveConn
	if v.state == muted || f == shut {
		ended = slices.Collect(maps.Keys(v.conns))
	}
	v.state = f
	v.mu.Unlock()
	for _, c := range ended {
		c.Close()
	}
}

func (v *valve) flow() flow {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.state
}

// Accept gives the broker the connections that come while the valve is not shut.
func (v *valve) Accept() (net.Conn, error) {
	for {
		c, err := v.Listener.Accept()
		if err != nil {
			return nil, err
		}
		wrapped := &valveConn{Conn: c, valve: v}
		v.mu.Lock()
		if v.state == shut {
			v.mu.Unlock()
			c.Close()
			continue
		}
		v.conns[wrapped] = true
		v.mu.Unlock()
		return wrapped, nil
	}
}

type valveConn struct {
	net.Conn
	valve *valve
}

// Write is the broker's answer.
func (c *valveConn) Write(b []byte) (int, error) {
	if c.valve.flow() == muted {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *valveConn) Close() error {
	c.valve.mu.Lock()
	delete(c.valve.conns, c)
	c.valve.mu.Unlock()
	return c.Conn.Close()
}

// forward serves what comes through the valve from the broker at address, until
// the valve's listener is closed.
func forward(v *valve, address string) {
	for {
		client, err := v.Accept()
		if err != nil {
			return
		}
		broker, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			client.Close()
			continue
		}
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			to.Close()
			from.Close()
		}
		go pass(broker, client)
		// Not client itself: io.Copy would find the raw connection's ReadFrom.
		go pass(struct{ net.Conn }{client}, broker)
	}
}

func TestValve(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() {
				b := make([]byte, 16)
				for {
					n, err := c.Read(b)
					if err != nil {
						c.Close()
						return
					}
					got <- string(b[:n])
					_, _ = c.Write(b[:n])
				}
			}()
		}
	}()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := newValve(l)
	go forward(v, echo.Addr().String())
	defer l.Close()
	defer echo.Close()

	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(5 * time.Second))
		return c
	}
	c, b := dial(), make([]byte, 16)
	ask := func(word string) error {
		if _, err := c.Write([]byte(word)); err != nil {
			return err
		}
		_, err := c.Read(b)
		return err
	}
	if err := ask("open"); err != nil || <-got != "open" {
		t.Fatalf("through an open valve: %v", err)
	}
	v.set(muted)
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	var late net.Error
	if err := ask("muted"); !errors.As(err, &late) || !late.Timeout() || <-got != "muted" {
		t.Fatalf("a muted valve must pass the request and keep the answer: %v", err)
	}
	v.set(open)
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if err := ask("again"); err == nil {
		t.Fatal("a connection that lost an answer lived on")
	}
	v.set(shut)
	c = dial()
	if err := ask("shut"); err == nil {
		t.Fatal("a shut valve answered")
	}
}
