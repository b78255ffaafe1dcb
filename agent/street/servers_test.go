package street

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/twmb/franz-go/pkg/kfake"
)

// servers are the two ends of the street. They outlive every agent.
type servers struct {
	real   bool
	mqtt   string // for the agent and the plant
	kafka  string // for the agent, through the valve
	direct string // for the consumer
	valve  *valve
	// crash takes the Kafka broker away without warning and brings it back.
	crash func() error
	// bounce ends the MQTT broker and starts it again with the sessions it kept;
	// nil where the broker is embedded.
	bounce func() error
}

// openServers gives real servers where the environment names them, else embedded ones.
func openServers(t *testing.T) *servers {
	t.Helper()
	if os.Getenv("TOCSIN_TEST_MQTT") != "" && os.Getenv("TOCSIN_TEST_KAFKA") != "" {
		return realServers(t)
	}
	s := &servers{mqtt: embeddedMQTT(t)}
	s.crash = func() error {
		s.valve.set(shut)
		time.Sleep(time.Second)
		s.valve.set(open)
		return nil
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.ListenFn(func(network, address string) (net.Listener, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		s.valve = newValve(l)
		return s.valve, nil
	}))
	if err != nil {
		t.Fatalf("start the embedded Kafka: %v", err)
	}
	t.Cleanup(cluster.Close)
	s.kafka = cluster.ListenAddrs()[0]
	s.direct = s.kafka
	return s
}

// house is the embedded MQTT broker's rules. Anyone may connect, publish and
// read; and what waits for a client that is away is numbered, for mochi sorts it
// by the second of its coming, while MQTT 3.1.1 section 4.6 wants its order kept.
type house struct {
	mochi.HookBase
	came atomic.Int64
}

func (*house) ID() string { return "house" }

func (*house) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck || b == mochi.OnPublish
}

func (*house) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*house) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func (h *house) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	p.Created = h.came.Add(1)
	return p, nil
}

func embeddedMQTT(t *testing.T) string {
	t.Helper()
	options := &mochi.Options{Logger: slog.New(slog.DiscardHandler)}
	options.Capabilities = mochi.NewDefaultServerCapabilities()
	options.Capabilities.MaximumInflight = 60000          // a killed agent's readings wait here
	options.Capabilities.MaximumMessageExpiryInterval = 0 // the numbers are no times
	broker := mochi.New(options)
	if err := broker.AddHook(new(house), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "plant", Address: "127.0.0.1:0"})
	if err := broker.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := broker.Serve(); err != nil {
		t.Fatalf("start the embedded MQTT broker: %v", err)
	}
	t.Cleanup(func() { broker.Close() })
	return "tcp://" + l.Address()
}

// realServers finds what .ci/run has started. TOCSIN_TEST_KAFKA_VALVE is two
// addresses: where the test is to listen, and where the broker does;
// TOCSIN_TEST_KAFKA_DIR and TOCSIN_TEST_MQTT_DIR are the brokers' folders, by
// which .ci/kafka.sh and .ci/mosquitto.sh end them.
func realServers(t *testing.T) *servers {
	t.Helper()
	s := &servers{real: true, mqtt: os.Getenv("TOCSIN_TEST_MQTT"), direct: os.Getenv("TOCSIN_TEST_KAFKA")}
	front, back, ok := strings.Cut(os.Getenv("TOCSIN_TEST_KAFKA_VALVE"), ",")
	dir := os.Getenv("TOCSIN_TEST_KAFKA_DIR")
	if !ok || dir == "" {
		t.Fatal("TOCSIN_TEST_KAFKA_VALVE and TOCSIN_TEST_KAFKA_DIR must be set beside TOCSIN_TEST_KAFKA: see .ci/stages.sh")
	}
	l, err := net.Listen("tcp", front)
	if err != nil {
		t.Fatalf("stand before Kafka: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	s.kafka, s.valve = front, newValve(l)
	go forward(s.valve, back)
	s.crash = func() error { return errors.Join(script("kafka.sh", "kill", dir), script("kafka.sh", "start", dir)) }
	if mqtt, certs := os.Getenv("TOCSIN_TEST_MQTT_DIR"), os.Getenv("TOCSIN_TEST_CERTS"); mqtt != "" {
		s.bounce = func() error {
			return errors.Join(script("mosquitto.sh", "stop", mqtt), script("mosquitto.sh", "start", mqtt, certs))
		}
	}
	return s
}

// script runs one of the scripts that start and end the real servers.
func script(name string, args ...string) error {
	if out, err := exec.Command("../../.ci/"+name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, args[0], err, out)
	}
	return nil
}
