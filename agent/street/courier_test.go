package street

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// courier publishes at QoS 1, in order and without loss though the broker goes
// and comes back: what it had not acknowledged is sent again before anything
// new. paho's own way of reconnecting lets new messages overtake old ones. One
// goroutine uses it.
type courier struct {
	broker, id string
	client     mqtt.Client
	unacked    []*letter // oldest first
	resent     int       // letters that the broker may have had twice
}

// letter is a message on its way.
type letter struct {
	topic, payload string
	token          mqtt.Token
	taken          func(time.Time) // told once the broker has acknowledged it; may be nil
}

// absence is how long a broker may be away.
const absence = 30 * time.Second

func newCourier(broker, id string) (*courier, error) {
	c := &courier{broker: broker, id: id}
	return c, c.connect()
}

func (c *courier) connect() error {
	o := mqtt.NewClientOptions().AddBroker(c.broker).SetClientID(c.id).SetAutoReconnect(false)
	o.SetWriteTimeout(2 * time.Second) // a publish that meets the end of its connection waits this long
	var err error
	for began := time.Now(); time.Since(began) < absence; time.Sleep(100 * time.Millisecond) {
		c.client = mqtt.NewClient(o)
		t := c.client.Connect()
		if t.Wait(); t.Error() == nil {
			return nil
		}
		err = t.Error()
	}
	return fmt.Errorf("connect %s to %s: %w", c.id, c.broker, err)
}

// publish hands a message to the broker without waiting for its answer.
func (c *courier) publish(topic, payload string, taken func(time.Time)) error {
	if err := c.collect(); err != nil {
		return err
	}
	c.unacked = append(c.unacked, &letter{topic, payload, c.client.Publish(topic, 1, false, payload), taken})
	return nil
}

// collect takes in the broker's answers, and sends again what a lost connection
// left without one.
func (c *courier) collect() error {
	for len(c.unacked) > 0 {
		select {
		case <-c.unacked[0].token.Done():
		default:
			return nil
		}
		if c.unacked[0].token.Error() != nil {
			if err := c.resend(); err != nil {
				return err
			}
			continue
		}
		if taken := c.unacked[0].taken; taken != nil {
			taken(time.Now())
		}
		c.unacked = c.unacked[1:]
	}
	return nil
}

func (c *courier) resend() error {
	c.client.Disconnect(0)
	if err := c.connect(); err != nil {
		return err
	}
	for _, l := range c.unacked {
		l.token = c.client.Publish(l.topic, 1, false, l.payload)
	}
	c.resent += len(c.unacked)
	return nil
}

// flush returns when the broker has acknowledged everything.
func (c *courier) flush() error {
	for len(c.unacked) > 0 {
		<-c.unacked[0].token.Done()
		if err := c.collect(); err != nil {
			return err
		}
	}
	return nil
}

// close flushes and disconnects.
func (c *courier) close() error {
	err := c.flush()
	c.client.Disconnect(250)
	return err
}

// TestCourier keeps the broker's answers back, and takes the broker away, under
// a stream of numbers: they come in order and none is missing; how many came
// twice the courier knows.
func TestCourier(t *testing.T) {
	broker := embeddedMQTT(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	v := newValve(l)
	go forward(v, strings.TrimPrefix(broker, "tcp://"))

	var mu sync.Mutex
	var came []string
	reader := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetClientID("reader"))
	if token := reader.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer reader.Disconnect(0)
	reader.Subscribe("numbers", 1, func(_ mqtt.Client, m mqtt.Message) {
		mu.Lock()
		came = append(came, string(m.Payload()))
		mu.Unlock()
	}).Wait()

	c, err := newCourier("tcp://"+l.Addr().String(), "courier")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	taken := 0
	for i := range 400 {
		switch i {
		case 100:
			v.set(muted)
		case 150:
			v.set(open)
		case 300:
			v.set(shut)
			time.AfterFunc(200*time.Millisecond, func() { v.set(open) })
		}
		want = append(want, strconv.Itoa(i))
		if err := c.publish("numbers", want[i], func(time.Time) { taken++ }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	var once []string
	for deadline := time.Now().Add(5 * time.Second); len(once) < len(want) && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		mu.Lock()
		once = once[:0]
		for _, n := range came {
			if !slices.Contains(once, n) {
				once = append(once, n)
			}
		}
		mu.Unlock()
	}
	if !slices.Equal(once, want) {
		t.Errorf("the numbers came as %v", once)
	}
	if twice := len(came) - len(once); taken != len(want) || twice < 1 || twice > c.resent {
		t.Errorf("%d of %d were acknowledged; %d came twice, the courier says at most %d", taken, len(want), twice, c.resent)
	}
}
