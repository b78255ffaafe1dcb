package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

const (
	connectPatience   = 10 * time.Second
	subscribePatience = 10 * time.Second
	subscribeAtOnce   = 8 // filters in one packet: what AWS IoT takes
	refusedByBroker   = 0x80
)

// link is one connection to the broker. It is never mended: when it is lost, Run
// returns and the caller's back-off decides when there will be another.
type link struct {
	client paho.Client
	conn   *conn
	lost   chan error // told once, after paho's goroutines have ended
}

// connect opens a link whose messages go to handle from the moment on that the
// broker has accepted it.
func (s *Source) connect(ctx context.Context) (*link, error) {
	password := ""
	if s.options.Password != nil {
		var err error
		if password, err = s.options.Password(); err != nil {
			return nil, s.explain("read the password for "+s.options.Broker, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	l := &link{lost: make(chan error, 1)}
	abort := func() bool { return false }
	o := paho.NewClientOptions()
	o.Servers = []*url.URL{s.address.url}
	o.SetClientID(s.options.ClientID).SetUsername(s.options.Username).SetPassword(password)
	o.SetProtocolVersion(4).SetCleanSession(s.options.QoS == 0).SetStore(noStore{})
	o.SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(connectPatience)
	o.SetAutoAckDisabled(true).SetOrderMatters(true)
	o.SetKeepAlive(s.options.KeepAlive).SetPingTimeout(min(s.options.KeepAlive, 10*time.Second))
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { l.lost <- err })
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		c, err := s.address.dial(ctx, s.options.TLS, s.dry)
		if err != nil {
			return nil, err
		}
		l.conn = newConn(c, s.options.MaxPayload, s.handle)
		s.acks.connected(l.conn)
		abort = context.AfterFunc(ctx, func() { _ = c.Close() })
		return l.conn, nil
	})
	l.client = paho.NewClient(o)
	t := l.client.Connect()
	<-t.Done() // soon: ctx ends the dialling and the handshake
	abort()
	if err := t.Error(); err != nil {
		return nil, s.explain("connect to "+s.options.Broker, plain(err))
	}
	return l, nil
}

// plain takes off what paho puts before an error of the network.
func plain(err error) error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			if e != nil && !errors.Is(e, packets.ErrorNetworkError) {
				return e
			}
		}
	}
	return err
}

// subscribe asks for all filters. One that the broker refuses is logged; only
// when it refuses all is that an error.
func (s *Source) subscribe(ctx context.Context, l *link) error {
	refused := 0
	for rest := s.filters; len(rest) > 0; {
		n := min(len(rest), subscribeAtOnce)
		asked := map[string]byte{}
		for _, f := range rest[:n] {
			asked[f.String()] = byte(s.options.QoS)
		}
		rest = rest[n:]
		t, ok := l.client.SubscribeMultiple(asked, nil).(*paho.SubscribeToken)
		if !ok {
			return fmt.Errorf("subscribe at %s: no token", s.options.Broker)
		}
		if err := s.await(ctx, l, t); err != nil {
			return s.explain("subscribe at "+s.options.Broker, err)
		}
		for f, qos := range t.Result() {
			switch {
			case qos == refusedByBroker:
				refused++
				s.log.Error("the broker refused a subscription", "topic", f,
					"cure", "allow this user to subscribe to it in the broker's access list (ACL)")
			case int(qos) < s.options.QoS:
				s.log.Warn("the broker grants less than was asked", "topic", f, "qos", qos)
			}
		}
	}
	if refused == len(s.filters) {
		return fmt.Errorf("subscribe at %s to %s: the broker refused: allow this user to subscribe in the broker's access list (ACL)",
			s.options.Broker, texts(s.filters))
	}
	return nil
}

// texts is for messages.
func texts(filters []filter) string {
	var all []string
	for _, f := range filters {
		all = append(all, f.String())
	}
	return strings.Join(all, ", ")
}

// await waits for the broker's answer.
func (s *Source) await(ctx context.Context, l *link, t paho.Token) error {
	late := time.NewTimer(subscribePatience)
	defer late.Stop()
	select {
	case <-t.Done():
		return t.Error()
	case err := <-l.lost:
		l.lost <- err
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errors.New("the broker does not answer")
	}
}

// flushed waits until the broker has taken all acknowledgements: it answers in
// order, here to the giving up of a subscription that never was.
func (s *Source) flushed(ctx context.Context, l *link) error {
	if err := s.await(ctx, l, l.client.Unsubscribe("tocsin/none")); err != nil {
		return s.explain("acknowledge at "+s.options.Broker, err)
	}
	return nil
}

// close ends the link and returns after paho's goroutines have.
func (l *link) close() {
	l.conn.hurry.Store(true)
	l.client.Disconnect(2000) // milliseconds at most; a lost link is closed already
}

// explain adds the cure, where there is one.
func (s *Source) explain(what string, err error) error {
	if c := s.cure(err); c != "" {
		return fmt.Errorf("%s: %w; %s", what, err, c)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// noStore is for paho: no packet that it sees must outlive the connection.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
