package mqtt

import (
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"tocsin/sensors"
)

// strict is a broker for one client that keeps a session to the letter: it sends
// the numbers 0 … n-1 at QoS 1 without waiting, and after each reconnect those
// that were not acknowledged, in order (MQTT 3.1.1, 4.4 and 4.6).
type strict struct {
	l net.Listener
	n int

	mu       sync.Mutex
	acked    []uint16 // in order of arrival
	connects int
	sent     int // since the last connect
	conn     net.Conn
	wg       sync.WaitGroup
}

func newStrict(t *testing.T, n int) *strict {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &strict{l: l, n: n}
	b.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { b.serve(c) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); b.drop(); b.wg.Wait() })
	return b
}

// drop cuts the connection.
func (b *strict) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn != nil {
		_ = b.conn.Close()
	}
}

func (b *strict) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	for {
		p, err := packets.ReadPacket(c)
		if err != nil {
			return
		}
		switch p := p.(type) {
		case *packets.ConnectPacket:
			b.mu.Lock()
			b.conn, b.sent = c, 0
			b.connects++
			b.mu.Unlock()
			_ = packets.NewControlPacket(packets.Connack).Write(c)
		case *packets.SubscribePacket:
			a := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
			a.MessageID, a.ReturnCodes = p.MessageID, p.Qoss
			_ = a.Write(c)
			b.wg.Go(func() { b.send(c) })
		case *packets.PubackPacket:
			b.mu.Lock()
			b.acked = append(b.acked, p.MessageID)
			b.mu.Unlock()
		case *packets.UnsubscribePacket:
			a := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
			a.MessageID = p.MessageID
			_ = a.Write(c)
		case *packets.PingreqPacket:
			_ = packets.NewControlPacket(packets.Pingresp).Write(c)
		}
	}
}

func (b *strict) send(c net.Conn) {
	b.mu.Lock()
	acked, again := map[uint16]bool{}, b.connects > 1
	for _, id := range b.acked {
		acked[id] = true
	}
	b.mu.Unlock()
	for i := range b.n {
		if acked[uint16(i+1)] {
			continue
		}
		p := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
		p.Qos, p.Dup, p.TopicName, p.MessageID = 1, again, "a", uint16(i+1)
		p.Payload = strconv.AppendInt(nil, int64(i), 10)
		if p.Write(c) != nil {
			return
		}
		b.mu.Lock()
		b.sent++
		b.mu.Unlock()
	}
}

func (b *strict) state() (connects, sent int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connects, b.sent
}

// acknowledged is what the client has acknowledged, in order.
func (b *strict) acknowledged() []uint16 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.acked)
}

func ascending(n int) (ids []uint16) {
	for i := range n {
		ids = append(ids, uint16(i+1))
	}
	return ids
}

// More messages than may be held: the source must stop taking them, let those it
// holds be judged, and connect again for the rest.
func TestQoS1LosesNothingWhileTheQueueIsFull(t *testing.T) {
	const messages = 3 * mostHeld
	b := newStrict(t, messages)
	s := source(t, Options{Broker: "tcp://" + b.l.Addr().String(), ClientID: "c", QoS: 1, Topics: []Topic{value("a")}})
	q, w := running(t, s, 2, 4)
	until(t, "sent", func() bool { _, sent := b.state(); return sent == messages })
	until(t, "over the bound", func() bool { return !s.taking.Load() })
	s.backlog.mu.Lock()
	if n := len(s.backlog.held); n > mostHeld {
		t.Errorf("%d messages held, want at most %d", n, mostHeld)
	}
	s.backlog.mu.Unlock()
	for i := 0; i < messages; {
		batch := take(t, q)
		for _, s := range batch.Samples {
			if s.Value != float64(i) {
				t.Fatalf("judged %v, want %d: each once and in order", s.Value, i)
			}
			i++
		}
		batch.Release()
	}
	until(t, "acknowledged", func() bool { return len(b.acknowledged()) >= messages })
	if !slices.Equal(b.acknowledged(), ascending(messages)) {
		t.Error("not acknowledged once each, in order")
	}
	if n := w.Counters.RefusedAll(); n != 0 || w.Counters.Read.Load() != messages {
		t.Errorf("%d read, %d refused; want %d and none", w.Counters.Read.Load(), n, messages)
	}
}

// What was judged over a connection that is gone must not be acknowledged over
// the next, where the same ids may stand for other messages.
func TestUnjudgedComesAgainInOrder(t *testing.T) {
	b := newStrict(t, 8)
	s := source(t, Options{Broker: "tcp://" + b.l.Addr().String(), ClientID: "c", QoS: 1, Topics: []Topic{value("a")}})
	q, w := running(t, s, 8, 2)
	first, second := take(t, q), take(t, q)
	first.Release()
	until(t, "acknowledged", func() bool { return len(b.acknowledged()) == 2 })
	b.drop()
	second.Release()
	until(t, "connected again", func() bool { n, sent := b.state(); return n == 2 && sent == 6 })
	var got []float64
	for len(got) < 10 { // four offered before, and the six that come again
		batch := take(t, q)
		for _, s := range batch.Samples {
			got = append(got, s.Value)
		}
		batch.Release()
	}
	if want := []float64{4, 5, 6, 7, 2, 3, 4, 5, 6, 7}; !slices.Equal(got, want) {
		t.Errorf("judged %v, want %v", got, want)
	}
	until(t, "acknowledged", func() bool { return len(b.acknowledged()) >= 8 })
	if !slices.Equal(b.acknowledged(), ascending(8)) {
		t.Errorf("acknowledged %v, want each once, in order", b.acknowledged())
	}
	if c := &w.Counters; c.Read.Load() != c.Judged.Load() || c.Refused(sensors.QueueFull) != 0 {
		t.Errorf("ledger: %d read, %d judged", c.Read.Load(), c.Judged.Load())
	}
}
