package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"tocsin/agent/certs"
	"tocsin/agent/clock"
	"tocsin/agent/config"
)

// Bounds on what a tap takes in: it asks for more than the agent would.
const (
	mostTopics     = 5000 // topics remembered
	mostScouted    = 5000 // messages that asking for more may bring
	triedPayloads  = 3    // of a row that are looked at
	tapPatience    = 10 * time.Second
	refusedByMQTT  = 0x80 // a return code of SUBACK (MQTT 3.1.1, 3.9.3)
	filtersAtOnce  = 8    // in one packet: what AWS IoT takes
	disconnectedMs = 250
)

// tap hears the bare messages of a broker's rows, and of topics near those of
// rows that get none.
type tap struct {
	client paho.Client
	rows   []tapped
	most   int // bytes of a payload that the agent takes

	enough chan struct{} // closed when more than enough came of what was asked for beyond the rows

	mu      sync.Mutex
	topics  map[string][]int // that a message came on, and which rows each is for
	scouted int              // messages that no row is for
}

// tapped is what was heard for one row; guarded by the tap's mu but for filter.
type tapped struct {
	row      config.Topic
	refused  bool
	messages int
	fault    fault // of the newest message that had one
}

// fault is why a message gives no reading.
type fault struct{ said, cure string }

func newTap(m config.MQTT) *tap {
	t := &tap{enough: make(chan struct{}), topics: map[string][]int{}, most: int(m.MaxPayload)}
	for _, row := range m.Topics {
		t.rows = append(t.rows, tapped{row: row})
	}
	return t
}

// connect opens a connection without a session, to be heard on for a moment.
func (t *tap) connect(ctx context.Context, m config.MQTT) error {
	o := paho.NewClientOptions().AddBroker(m.Broker).SetClientID(m.ClientID + "-tap").SetUsername(m.Username)
	o.SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetConnectTimeout(tapPatience)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { t.hear(m.Topic(), m.Payload()) })
	if m.PasswordFile != "" {
		password, err := certs.Password(m.PasswordFile)()
		if err != nil {
			return err
		}
		o.SetPassword(password)
	}
	secure, err := clientTLS(m.TLS, clock.New())
	if err != nil {
		return err
	}
	if secure != nil {
		o.SetTLSConfig(certs.For(secure, hostOf(m.Broker)))
	}
	t.client = paho.NewClient(o)
	return await(ctx, t.client.Connect())
}

func (t *tap) close() { t.client.Disconnect(disconnectedMs) }

// await waits for the broker's answer.
func await(ctx context.Context, token paho.Token) error {
	late := time.NewTimer(tapPatience)
	defer late.Stop()
	select {
	case <-token.Done():
		return token.Error()
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return errors.New("the broker does not answer; check the address and port, and that no firewall drops them")
	}
}

// listen hears the rows for span. Halfway it asks for topics near those of rows
// that got nothing, and later for all, as far as the broker lets it.
func (t *tap) listen(ctx context.Context, span time.Duration) error {
	filters := map[string]bool{}
	for _, r := range t.rows {
		filters[r.row.Topic] = true
	}
	refused, err := t.subscribe(ctx, sortedKeys(filters))
	if err != nil {
		return err
	}
	t.mu.Lock()
	for i := range t.rows {
		t.rows[i].refused = refused[t.rows[i].row.Topic]
	}
	t.mu.Unlock()
	var scouts []string
	for _, step := range []struct {
		wait   time.Duration
		filter func(topic string) string
	}{{span / 2, neighbours}, {span / 4, func(string) string { return "#" }}, {span - span/2 - span/4, nil}} {
		if !t.wait(ctx, step.wait, scouts) {
			return nil
		}
		more := t.silent(step.filter)
		if _, err := t.subscribe(ctx, more); err != nil {
			return err
		}
		scouts = append(scouts, more...)
	}
	return nil
}

// wait lets messages come. When those that were only asked for to look around
// are enough it gives their filters up. It reports whether ctx goes on.
func (t *tap) wait(ctx context.Context, span time.Duration, scouts []string) bool {
	over := time.NewTimer(span)
	defer over.Stop()
	for enough := t.enough; ; {
		select {
		case <-ctx.Done():
			return false
		case <-over.C:
			return true
		case <-enough:
			if len(scouts) > 0 {
				t.client.Unsubscribe(scouts...) // nobody waits for the answer
			}
			enough = nil
		}
	}
}

// neighbours is the filter of all that has the same first level.
func neighbours(topic string) string {
	first, _, below := strings.Cut(topic, "/")
	if !below || strings.ContainsAny(first, "+#") {
		return "#"
	}
	return first + "/#"
}

// silent is the filters to ask for on behalf of rows that got nothing and for
// which no topic resembles theirs yet.
func (t *tap) silent(filter func(topic string) string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if filter == nil || t.scouted >= mostScouted {
		return nil
	}
	wanted := map[string]bool{}
	looked := 0
	for _, r := range t.rows {
		if r.messages > 0 || r.refused {
			continue
		}
		if nearestTopic(r.row.Topic, t.topics) == "" {
			wanted[filter(r.row.Topic)] = true
		}
		if looked++; looked == mostRows {
			break
		}
	}
	return sortedKeys(wanted)
}

// subscribe asks for the filters at QoS 0 and says which were refused.
func (t *tap) subscribe(ctx context.Context, filters []string) (refused map[string]bool, err error) {
	refused = map[string]bool{}
	for len(filters) > 0 {
		n := min(len(filters), filtersAtOnce)
		asked := map[string]byte{}
		for _, f := range filters[:n] {
			asked[f] = 0
		}
		filters = filters[n:]
		token, ok := t.client.SubscribeMultiple(asked, nil).(*paho.SubscribeToken)
		if !ok {
			return nil, errors.New("subscribe: no token")
		}
		if err := await(ctx, token); err != nil && len(token.Result()) == 0 {
			return nil, fmt.Errorf("subscribe: %w", err)
		}
		for f, code := range token.Result() {
			refused[f] = refused[f] || code == refusedByMQTT
		}
	}
	return refused, nil
}

// refusedAll reports whether the broker refused every row.
func (t *tap) refusedAll() bool {
	for _, r := range t.rows {
		if !r.refused {
			return false
		}
	}
	return true
}

// hear takes a message, on a goroutine of paho.
func (t *tap) hear(topic string, payload []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wanted, known := t.topics[topic]
	if !known {
		for i := range t.rows {
			if inFilter(t.rows[i].row.Topic, topic) {
				wanted = append(wanted, i)
			}
		}
		if len(t.topics) < mostTopics {
			t.topics[topic] = wanted
		}
	}
	for _, i := range wanted {
		r := &t.rows[i]
		if r.messages++; r.messages > triedPayloads {
			continue
		}
		if f := examine(r.row, payload, t.most); f.said != "" {
			f.said = topic + ": " + f.said
			r.fault = f
		}
	}
	if len(wanted) > 0 {
		return
	}
	if t.scouted++; t.scouted == mostScouted {
		close(t.enough)
	}
}
