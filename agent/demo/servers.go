package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/twmb/franz-go/pkg/kfake"
)

const (
	eventsTopic = "tocsin.events.v1"
	statusTopic = "tocsin.status.v1"
	partitions  = 3
)

// broker is an MQTT broker in this process, on a free loopback port.
type broker struct {
	server  *mqtt.Server
	address string
}

func startBroker() (*broker, error) {
	server := mqtt.New(&mqtt.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	if err := server.AddHook(new(auth.AllowHook), nil); err != nil {
		return nil, fmt.Errorf("let everybody in to the MQTT broker: %w", err)
	}
	tcp := listeners.NewTCP(listeners.Config{ID: "demo", Address: "127.0.0.1:0"})
	if err := server.AddListener(tcp); err != nil {
		return nil, fmt.Errorf("open the MQTT broker's port: %w", err)
	}
	if err := server.Serve(); err != nil {
		return nil, fmt.Errorf("start the MQTT broker: %w", err)
	}
	return &broker{server, "tcp://" + tcp.Address()}, nil
}

// publish sends one message to whoever subscribes, at QoS 1.
func (b *broker) publish(topic string, payload []byte) error {
	return b.server.Publish(topic, payload, false, 1)
}

// listeners is how many clients are connected, this program's own left out.
func (b *broker) listeners() (n int) {
	for _, c := range b.server.Clients.GetAll() {
		if !c.Net.Inline && len(c.State.Subscriptions.GetAll()) > 0 {
			n++
		}
	}
	return n
}

// cluster is a Kafka in this process, on a free loopback port, that can be
// taken away and given back with everything it holds.
type cluster struct {
	kafka *kfake.Cluster
	gate  *gate
}

func startCluster() (*cluster, error) {
	c := &cluster{gate: &gate{open: map[net.Conn]bool{}}}
	var err error
	c.kafka, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, eventsTopic), kfake.SeedTopics(1, statusTopic),
		kfake.WithLogger(kfake.BasicLogger(io.Discard, kfake.LogLevelNone)), kfake.ListenFn(c.gate.listen))
	if err != nil {
		return nil, fmt.Errorf("start Kafka: %w", err)
	}
	return c, nil
}

func (c *cluster) address() string { return c.kafka.ListenAddrs()[0] }

// gate is a listener that can be shut: connections are then cut, and new ones
// cut as soon as they come.
type gate struct {
	net.Listener
	mu   sync.Mutex
	shut bool
	open map[net.Conn]bool
}

func (g *gate) listen(network, address string) (net.Listener, error) {
	var err error
	g.Listener, err = net.Listen(network, address)
	return g, err
}

func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		if g.shut {
			g.mu.Unlock()
			_ = conn.Close() // nobody is at home
			continue
		}
		g.open[conn] = true
		g.mu.Unlock()
		return &guest{conn, g}, nil
	}
}

// set opens or shuts the gate.
func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	if shut {
		for conn := range g.open {
			_ = conn.Close() // as a cable would
		}
		clear(g.open)
	}
}

// guest is a connection that the gate lets through.
type guest struct {
	net.Conn
	gate *gate
}

func (c *guest) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.open, c.Conn)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
