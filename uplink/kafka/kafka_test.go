package kafka_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"tocsin/uplink"
	"tocsin/uplink/kafka"
	"tocsin/uplink/uplinktest"
)

// connect makes Sinks with these options.
func connect(o kafka.Options) uplinktest.Connect {
	return func(t *testing.T, topic string, now func() (time.Time, bool)) uplink.Sink {
		t.Helper()
		o := o
		o.Topic, o.Now, o.ClientID = topic, now, "tocsin-test"
		if o.Timeout == 0 {
			o.Timeout = 5 * time.Second
		}
		s, err := kafka.New(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
}

func password(p string) func() (string, error) {
	return func() (string, error) { return p, nil }
}

func embedded(t *testing.T, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func embeddedAdmin(c *kfake.Cluster, opts ...kgo.Opt) admin {
	return admin{append(opts, kgo.SeedBrokers(c.ListenAddrs()...))}
}

// closedPort is an address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestEmbedded(t *testing.T) {
	dir := t.TempDir()
	c := embedded(t, kfake.DataDir(dir))
	a := embeddedAdmin(c)
	addrs := c.ListenAddrs()
	at, err := net.ResolveTCPAddr("tcp", addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	restart := kfake.Ports(at.Port)
	sinks := map[string]uplinktest.Connect{
		"second broker of two": connect(kafka.Options{Brokers: []string{closedPort(t), addrs[0]}}),
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		sinks[codec] = connect(kafka.Options{Brokers: addrs, Codec: codec})
	}
	uplinktest.Sink(t, uplinktest.Cluster{
		Topic: a.testTopic, Grow: a.grow, Read: a.read, Sinks: sinks,
		Down: func(*testing.T) { c.Close() },
		Up:   func(*testing.T) { c = embedded(t, kfake.DataDir(dir), restart) },
	})
}

func TestEmbeddedTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.leaf(t, "broker")}, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	client := &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{ca.leaf(t, "gateway")}}
	stranger := &tls.Config{RootCAs: ca.pool, Certificates: []tls.Certificate{other.leaf(t, "gateway")}}
	c := embedded(t, kfake.TLS(server))
	a := embeddedAdmin(c, kgo.DialTLSConfig(client))
	addrs := c.ListenAddrs()
	uplinktest.Sink(t, uplinktest.Cluster{
		Topic: a.testTopic, Grow: a.grow, Read: a.read,
		Sinks: map[string]uplinktest.Connect{"mutual tls": connect(kafka.Options{Brokers: addrs, TLS: to(client)})},
		Refused: map[string]uplinktest.Connect{
			"unknown authority":   connect(kafka.Options{Brokers: addrs, TLS: to(&tls.Config{RootCAs: other.pool, Certificates: client.Certificates})}),
			"no certificate":      connect(kafka.Options{Brokers: addrs, TLS: to(&tls.Config{RootCAs: ca.pool})}),
			"foreign certificate": connect(kafka.Options{Brokers: addrs, TLS: to(stranger)}),
			"other host":          connect(kafka.Options{Brokers: addrs, TLS: to(&tls.Config{RootCAs: ca.pool, Certificates: client.Certificates, ServerName: "elsewhere"})}),
		},
	})
}

func TestEmbeddedSASL(t *testing.T) {
	ca := newAuthority(t)
	secure := &tls.Config{RootCAs: ca.pool}
	c := embedded(t, kfake.TLS(&tls.Config{Certificates: []tls.Certificate{ca.leaf(t, "broker")}}), kfake.EnableSASL(),
		kfake.Superuser("SCRAM-SHA-512", "edge", "secret"), kfake.Superuser("SCRAM-SHA-256", "edge256", "secret"), kfake.Superuser("PLAIN", "plain", "secret"))
	a := embeddedAdmin(c, kgo.DialTLSConfig(secure), kgo.SASL(scram.Auth{User: "edge", Pass: "secret"}.AsSha512Mechanism()))
	login := func(mechanism, user string, pass func() (string, error)) uplinktest.Connect {
		return connect(kafka.Options{Brokers: c.ListenAddrs(), TLS: to(secure), SASL: &kafka.SASL{Mechanism: mechanism, Username: user, Password: pass}})
	}
	uplinktest.Sink(t, uplinktest.Cluster{
		Topic: a.testTopic, Grow: a.grow, Read: a.read,
		Sinks: map[string]uplinktest.Connect{
			"default":       login("", "edge", password("secret")),
			"SCRAM-SHA-256": login("SCRAM-SHA-256", "edge256", password("secret")),
			"PLAIN":         login("PLAIN", "plain", password("secret")),
		},
		Refused: map[string]uplinktest.Connect{
			"no password file": login("SCRAM-SHA-512", "edge", func() (string, error) { return "", errors.New("no such file") }),
		},
	})
}

// A password that is refused holds; a new one is used at the next connect. The
// embedded cluster only hangs up on a wrong password, so it is made to answer as
// Kafka does.
func TestPasswordChanges(t *testing.T) {
	c := embedded(t, kfake.EnableSASL(), kfake.Superuser("PLAIN", "edge", "new"))
	a := embeddedAdmin(c, kgo.SASL(plain.Auth{User: "edge", Pass: "new"}.AsMechanism()))
	topic := a.topic(t, 1, nil)
	c.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if bytes.HasSuffix(req.(*kmsg.SASLAuthenticateRequest).SASLAuthBytes, []byte("new")) {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return resp, nil, true
	})
	now := "old"
	s := connect(kafka.Options{Brokers: c.ListenAddrs(), SASL: &kafka.SASL{
		Mechanism: "PLAIN", Username: "edge", Password: func() (string, error) { return now, nil },
	}})(t, topic, nil)
	_, err := s.Partitions(t.Context(), topic)
	var out uplink.Outcome
	if !errors.As(err, &out) || out.Result != uplink.Hold || !strings.Contains(out.Cure, "password") {
		t.Errorf("with a wrong password: %v", err)
	}
	now = "new"
	if n, err := s.Partitions(t.Context(), topic); n != 1 || err != nil {
		t.Errorf("with the new password: %d partitions, %v", n, err)
	}
}

// A partition that moves to another broker is found there at the next attempt,
// and a batch that was stored before is not stored again.
func TestLeaderMoves(t *testing.T) {
	c := embedded(t, kfake.NumBrokers(3), kfake.SeedTopics(1, "events"))
	s := connect(kafka.Options{Brokers: c.ListenAddrs()[:1]})(t, "events", wall)
	b := uplink.Batch{Lane: uplink.Lane{Topic: "events", Producer: uplink.Producer{ID: 1}}, Records: []uplink.Record{{Key: "a"}}}
	if out := s.Send(t.Context(), b); out.Result != uplink.Acknowledged {
		t.Fatal(out)
	}
	for range 3 {
		if err := c.MoveTopicPartition("events", 0, (c.LeaderFor("events", 0)+1)%3); err != nil {
			t.Fatal(err)
		}
		if out := s.Send(t.Context(), b); out.Result != uplink.Again || !out.Unknown {
			t.Errorf("at the former leader: %v, unknown %v", out, out.Unknown)
		}
		if out := s.Send(t.Context(), b); out.Result != uplink.Acknowledged {
			t.Errorf("at the next attempt: %v", out)
		}
	}
	if n := c.PartitionInfo("events", 0).HighWatermark; n != 1 {
		t.Errorf("%d events are stored", n)
	}
}

// to is what a site's certificates make: a configuration for each address.
func to(c *tls.Config) func(string) *tls.Config {
	return func(address string) *tls.Config {
		c := c.Clone()
		if c.ServerName == "" {
			c.ServerName, _, _ = net.SplitHostPort(address)
		}
		return c
	}
}
