package kafka_test

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"tocsin/uplink/kafka"
	"tocsin/uplink/uplinktest"
)

// env is the value of an environment variable that a real cluster's test needs.
func env(t *testing.T, name, example string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Skipf("no real Kafka: set %s, for example to %s", name, example)
	}
	return value
}

// command runs a shell command that the environment gives; nil if it does not.
func command(name string) func(*testing.T) {
	line := os.Getenv(name)
	if line == "" {
		return nil
	}
	return func(t *testing.T) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), "sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestReal needs a Kafka 3.9 or 4 with a plain listener. With
// producer.id.expiration.ms below 10 s, give that as TOCSIN_TEST_KAFKA_EXPIRY; to
// have the broker stopped and started, commands that do so as
// TOCSIN_TEST_KAFKA_DOWN and TOCSIN_TEST_KAFKA_UP.
func TestReal(t *testing.T) {
	addrs := []string{env(t, "TOCSIN_TEST_KAFKA", "127.0.0.1:9092")}
	a := realAdmin(addrs)
	sinks := map[string]uplinktest.Connect{}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		sinks[codec] = connect(kafka.Options{Brokers: addrs, Codec: codec, Timeout: 10 * time.Second})
	}
	c := uplinktest.Cluster{
		Topic: a.testTopic, Grow: a.grow, Read: a.read, Sinks: sinks, Limits: true,
		Down: command("TOCSIN_TEST_KAFKA_DOWN"), Up: command("TOCSIN_TEST_KAFKA_UP"),
	}
	if expiry, err := time.ParseDuration(os.Getenv("TOCSIN_TEST_KAFKA_EXPIRY")); err == nil {
		c.Forgets = expiry + 4*time.Second // and the broker looks only now and then
	}
	uplinktest.Sink(t, c)
}

// clientTLS is what TOCSIN_TEST_CERTS holds: ca.pem, client.pem and client.key.
func clientTLS(t *testing.T) *tls.Config {
	t.Helper()
	dir := env(t, "TOCSIN_TEST_CERTS", "a folder with ca.pem, client.pem, client.key")
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{own}}
	c.RootCAs.AppendCertsFromPEM(ca)
	return c
}

func TestRealTLS(t *testing.T) {
	addrs := []string{env(t, "TOCSIN_TEST_KAFKA_SSL", "127.0.0.1:9093")}
	client, other := clientTLS(t), newAuthority(t)
	a := admin{[]kgo.Opt{kgo.SeedBrokers(addrs...), kgo.DialTLSConfig(client)}}
	uplinktest.Sink(t, uplinktest.Cluster{
		Topic: a.testTopic, Grow: a.grow, Read: a.read, Limits: true,
		Sinks: map[string]uplinktest.Connect{"mutual tls": connect(kafka.Options{Brokers: addrs, TLS: to(client)})},
		Refused: map[string]uplinktest.Connect{
			"no tls":              connect(kafka.Options{Brokers: addrs}),
			"unknown authority":   connect(kafka.Options{Brokers: addrs, TLS: to(&tls.Config{RootCAs: other.pool, Certificates: client.Certificates})}),
			"no certificate":      connect(kafka.Options{Brokers: addrs, TLS: to(&tls.Config{RootCAs: client.RootCAs})}),
			"foreign certificate": connect(kafka.Options{Brokers: addrs, TLS: to(&tls.Config{RootCAs: client.RootCAs, Certificates: []tls.Certificate{other.leaf(t, "client")}})}),
		},
	})
}

// TestRealSASL needs the user edge with the password edge-secret.
func TestRealSASL(t *testing.T) {
	addrs := []string{env(t, "TOCSIN_TEST_KAFKA_SASL", "127.0.0.1:9094")}
	plain := env(t, "TOCSIN_TEST_KAFKA", "127.0.0.1:9092")
	secure := &tls.Config{RootCAs: clientTLS(t).RootCAs}
	a := realAdmin([]string{plain})
	login := func(mechanism, user, pass string) uplinktest.Connect {
		return connect(kafka.Options{Brokers: addrs, TLS: to(secure), SASL: &kafka.SASL{Mechanism: mechanism, Username: user, Password: password(pass)}})
	}
	uplinktest.Sink(t, uplinktest.Cluster{
		Topic: a.testTopic, Grow: a.grow, Read: a.read, Limits: true,
		Sinks: map[string]uplinktest.Connect{"SCRAM-SHA-512": login("SCRAM-SHA-512", "edge", "edge-secret")},
		Refused: map[string]uplinktest.Connect{
			"wrong password":  login("SCRAM-SHA-512", "edge", "guess"),
			"unknown user":    login("SCRAM-SHA-512", "nobody", "edge-secret"),
			"other mechanism": login("PLAIN", "edge", "edge-secret"),
		},
	})
}
