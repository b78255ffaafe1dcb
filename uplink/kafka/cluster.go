package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// metadataTTL is how often kafka-go asks for the layout by itself. Its default,
// every 6 s and for all topics, melts the controller of a large fleet.
const metadataTTL = 5 * time.Minute

// cluster hands out the present session.
type cluster struct {
	o    Options
	ctx  context.Context // ends with close, and every connection with it
	stop context.CancelFunc

	mu     sync.Mutex
	topics []string // whose layout is kept; guarded by mu
	now    *session // nil: none; guarded by mu
}

// session is one picture of the cluster's layout and the connections made by
// it. kafka-go refreshes its picture only every so often, and keeps the error of
// a first attempt for as long; where an answer shows the picture to be wrong the
// next exchange begins another session.
type session struct {
	client    kafkago.Client
	transport *kafkago.Transport
	users     int  // calls under way; guarded by cluster.mu
	ended     bool // closes with its last user; guarded by cluster.mu
}

func (c *cluster) init(o Options) {
	c.o = o
	c.ctx, c.stop = context.WithCancel(context.Background())
	if o.Topic != "" {
		c.topics = []string{o.Topic}
	}
}

func (c *cluster) close() {
	c.renew(nil)
	c.stop()
}

// use is the present session, or a new one if there is none or it does not know
// the topic. The caller gives it back to done.
func (c *cluster) use(topic string) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	if topic != "" && !slices.Contains(c.topics, topic) {
		c.topics = append(c.topics, topic)
		c.end()
	}
	if c.now == nil {
		c.now = c.open()
	}
	c.now.users++
	return c.now
}

// done gives back what use gave.
func (c *cluster) done(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.users--
	s.closeUnused()
}

// renew ends the session, unless another has begun since: ten lanes that fail
// together make one new session. With nil it ends whichever there is.
func (c *cluster) renew(old *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old == nil || c.now == old {
		c.end()
	}
}

// end lets the present session close after its last user. Called with mu held.
func (c *cluster) end() {
	if c.now != nil {
		c.now.ended = true
		c.now.closeUnused()
		c.now = nil
	}
}

func (s *session) closeUnused() {
	if s.ended && s.users == 0 {
		s.transport.CloseIdleConnections()
	}
}

// open begins a session. Connecting may take half of the time that an exchange
// has, so that its own error is heard before the exchange's time is up.
func (c *cluster) open() *session {
	t := &kafkago.Transport{
		Dial:           c.dial,
		DialTimeout:    c.o.Timeout / 2,
		MetadataTTL:    metadataTTL,
		MetadataTopics: slices.Clone(c.topics),
		ClientID:       c.o.ClientID,
		Context:        c.ctx,
	}
	if c.o.SASL != nil {
		t.SASL = c.o.SASL
	}
	return &session{transport: t, client: kafkago.Client{
		Addr:      kafkago.TCP(c.o.Brokers...),
		Transport: t,
		Timeout:   c.o.Timeout,
	}}
}

// dial leaves each of the brokers its share of the time to connect: one that
// swallows packets must not keep the agent from the others.
func (c *cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: max(c.o.Timeout/2/time.Duration(len(c.o.Brokers)), time.Second)}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	bounded := &boundedConn{Conn: conn, limit: c.o.Timeout}
	if c.o.TLS == nil {
		return bounded, nil
	}
	secure := tls.Client(bounded, c.o.TLS(address))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error tells more
		return nil, err
	}
	return secure, nil
}

// boundedConn never waits for longer than limit. kafka-go takes the deadline
// off a connection before it logs in, and would wait for ever on a broker that
// falls silent there; its own requests for the layout wait for minutes.
type boundedConn struct {
	net.Conn
	limit time.Duration
}

// SetDeadline moves the deadline to t or to limit from now, whichever is first.
func (c *boundedConn) SetDeadline(t time.Time) error {
	if last := time.Now().Add(c.limit); t.IsZero() || t.After(last) {
		t = last
	}
	return c.Conn.SetDeadline(t)
}

// layout is the session's picture of the topic, or why there is none.
func (s *session) layout(ctx context.Context, topic string) (kafkago.Topic, error) {
	got, err := s.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return kafkago.Topic{}, err
	}
	return got.Topics[0], got.Topics[0].Error
}

// explain replaces kafka-go's "not found", which is all it says where it never
// got a layout, by the reason for that.
func (s *session) explain(ctx context.Context, topic string, err error) error {
	if errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition) {
		if _, why := s.layout(ctx, topic); why != nil {
			return why
		}
	}
	return err
}
