package mqtt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"tocsin/sensors"
)

// gather is how long an acknowledgement waits for company: one write to the
// socket then carries many.
const gather = time.Millisecond

// gathered is how many acknowledgements do not wait any longer: brokers have as
// few as 20 messages on the way to a client and wait for their acknowledgement.
const gathered = 16

const (
	bufferBytes   = 32 << 10
	mostOther     = 64 << 10 // of a packet that is no PUBLISH
	writePatience = 10 * time.Second
)

// The first byte's upper half says what a packet is (MQTT 3.1.1, table 2.1).
const (
	publishPacket = 3
	pubackByte    = 4 << 4
	pubrecByte    = 5 << 4
)

// message is one PUBLISH. Topic and payload are valid only while it is handled.
type message struct {
	topic    []byte
	payload  []byte
	tooLarge bool // payload or topic was over its bound and is not here
	retained bool
	qos      byte
	id       uint16
	at       int64 // when it arrived, nanoseconds since 1970 UTC
}

// conn stands between paho and the network. Reading is buffered and PUBLISH
// packets are handed to handle, which must not block; paho reads the others.
// Writing is buffered for acknowledgements only: whatever paho writes is sent at
// once, behind the acknowledgements that wait.
type conn struct {
	net.Conn
	handle func(message)
	most   int // bytes of a payload

	// Owned by the reading goroutine.
	buf     []byte // what was received; buf[r:w] is yet to be read
	r, w    int
	pass    int // bytes of the packet that paho is reading
	arrived int64

	sending  sync.Mutex // held while writing to the network
	spare    []byte     // swapped with waiting, under sending
	deadline time.Time  // for writing, set by paho, under sending

	mu      sync.Mutex
	waiting []byte // acknowledgements
	armed   bool
	timer   *time.Timer
	failed  error // of a write
	closed  atomic.Bool
	hurry   atomic.Bool // writes get little time: the agent is stopping
}

func newConn(c net.Conn, mostPayload int, handle func(message)) *conn {
	nc := &conn{Conn: c, handle: handle, most: mostPayload, buf: make([]byte, bufferBytes)}
	nc.timer = time.AfterFunc(time.Hour, func() { _ = nc.send(nil) })
	nc.timer.Stop()
	return nc
}

// Read gives paho what is not a PUBLISH.
func (c *conn) Read(b []byte) (int, error) {
	for c.pass == 0 {
		if err := c.packet(); err != nil {
			return 0, c.cause(err)
		}
	}
	if c.r == c.w {
		if err := c.need(1); err != nil {
			return 0, c.cause(err)
		}
	}
	n := copy(b, c.buf[c.r:min(c.w, c.r+c.pass)])
	c.r += n
	c.pass -= n
	return n, nil
}

// cause is why reading ended: a write that failed has closed the connection.
func (c *conn) cause(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return c.failed
	}
	return err
}

// packet reads the header of the next packet, and all of it if it is a PUBLISH.
func (c *conn) packet() error {
	if err := c.need(2); err != nil {
		return err
	}
	header, length := 1, 0
	for shift := 0; ; shift += 7 {
		if header > 4 {
			return errors.New("the broker sent a malformed packet length")
		}
		if err := c.need(header + 1); err != nil {
			return err
		}
		b := c.buf[c.r+header]
		header++
		length |= int(b&0x7f) << shift
		if b < 0x80 {
			break
		}
	}
	first := c.buf[c.r]
	if first>>4 == publishPacket {
		c.r += header
		return c.publish(first, length)
	}
	if length > mostOther {
		return fmt.Errorf("the broker sent a packet of type %d of %d bytes", first>>4, length)
	}
	c.pass = header + length
	return nil
}

// publish reads a PUBLISH (MQTT 3.1.1, 3.3) of that length.
func (c *conn) publish(first byte, length int) error {
	m := message{retained: first&1 != 0, qos: first >> 1 & 3}
	if m.qos == 3 {
		return errors.New("the broker sent a message of QoS 3")
	}
	ident := 0
	if m.qos > 0 {
		ident = 2
	}
	if length < 2+ident {
		return errors.New("the broker sent a message shorter than its header")
	}
	if err := c.need(2); err != nil {
		return err
	}
	topic := int(binary.BigEndian.Uint16(c.buf[c.r:]))
	if length < 2+topic+ident {
		return errors.New("the broker sent a topic longer than its message")
	}
	if topic > mostTopicBytes || length-2-topic-ident > c.most {
		return c.tooLarge(m, topic, length)
	}
	if err := c.need(length); err != nil {
		return err
	}
	b := c.buf[c.r : c.r+length]
	m.topic, b = b[2:2+topic], b[2+topic:]
	if ident > 0 {
		m.id, b = binary.BigEndian.Uint16(b), b[2:]
	}
	m.payload, m.at = b, c.arrived
	c.handle(m)
	c.r += length
	c.shrink()
	return nil
}

// tooLarge reads a PUBLISH without keeping more of it than its topic.
func (c *conn) tooLarge(m message, topic, length int) error {
	m.tooLarge = true
	rest := length - 2 - topic
	c.r += 2
	if topic <= mostTopicBytes {
		if err := c.need(topic); err != nil {
			return err
		}
		m.topic = append([]byte(nil), c.buf[c.r:c.r+topic]...)
	}
	if err := c.discard(topic); err != nil {
		return err
	}
	if m.qos > 0 {
		if err := c.need(2); err != nil {
			return err
		}
		m.id = binary.BigEndian.Uint16(c.buf[c.r:])
	}
	if err := c.discard(rest); err != nil {
		return err
	}
	m.at = c.arrived
	c.handle(m)
	return nil
}

// need reads until n bytes are buffered.
func (c *conn) need(n int) error {
	for c.w-c.r < n {
		if len(c.buf)-c.r < n {
			to := c.buf
			if n > len(to) {
				to = make([]byte, n+bufferBytes)
			}
			c.r, c.w = 0, copy(to, c.buf[c.r:c.w])
			c.buf = to
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
	return nil
}

func (c *conn) discard(n int) error {
	for n > 0 {
		if c.r == c.w {
			if err := c.need(1); err != nil {
				return err
			}
		}
		k := min(n, c.w-c.r)
		c.r += k
		n -= k
	}
	return nil
}

func (c *conn) fill() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		c.arrived = sensors.Steady()
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// shrink gives back the room that a large message needed.
func (c *conn) shrink() {
	if len(c.buf) > 4*bufferBytes && c.w-c.r <= bufferBytes {
		to := make([]byte, bufferBytes)
		c.r, c.w = 0, copy(to, c.buf[c.r:c.w])
		c.buf = to
	}
}

// acknowledge queues an acknowledgement and never waits for the network.
func (c *conn) acknowledge(qos byte, id uint16) {
	kind := byte(pubackByte)
	if qos == 2 {
		kind = pubrecByte // paho completes the exchange
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil || c.closed.Load() {
		return
	}
	c.waiting = append(c.waiting, kind, 2, byte(id>>8), byte(id))
	switch {
	case len(c.waiting) == 4*gathered:
		c.timer.Reset(0)
	case !c.armed:
		c.timer.Reset(gather)
	}
	c.armed = true
}

// Write sends what waits and b.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.send(b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *conn) send(more []byte) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.mu.Lock()
	out := c.waiting
	c.waiting, c.armed = c.spare[:0], false
	err := c.failed
	c.mu.Unlock()
	out = append(out, more...)
	c.spare = out
	if err != nil || len(out) == 0 {
		return err
	}
	patience := writePatience
	if c.hurry.Load() {
		patience = writePatience / 40
	}
	limit := time.Now().Add(patience)
	if !c.deadline.IsZero() && c.deadline.Before(limit) {
		limit = c.deadline
	}
	if err = c.Conn.SetWriteDeadline(limit); err == nil {
		_, err = c.Conn.Write(out)
	}
	if err != nil && !c.closed.Load() {
		c.mu.Lock()
		c.failed = fmt.Errorf("write: %w", err)
		c.mu.Unlock()
		_ = c.Conn.Close() // wakes the reader, which tells paho
	}
	return err
}

// SetDeadline keeps paho's limit for the handshake.
func (c *conn) SetDeadline(t time.Time) error {
	if err := c.SetWriteDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline holds for each write to come.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.sending.Lock()
	c.deadline = t
	c.sending.Unlock()
	return nil
}

// Close sends what waits, as far as that goes without waiting long.
func (c *conn) Close() error {
	c.hurry.Store(true)
	c.mu.Lock()
	first := !c.closed.Load()
	c.timer.Stop()
	c.mu.Unlock()
	if first {
		_ = c.send(nil)
	}
	c.closed.Store(true)
	return c.Conn.Close()
}
