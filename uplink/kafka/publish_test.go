package kafka_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

func TestPublish(t *testing.T) {
	c := embedded(t)
	publish(t, embeddedAdmin(c), c.ListenAddrs())
}

func TestRealPublish(t *testing.T) {
	addrs := []string{env(t, "TOCSIN_TEST_KAFKA", "127.0.0.1:9092")}
	publish(t, realAdmin(addrs), addrs)
}

// publish: every message is in the topic once, in the partition of its key, in
// order, with its headers; more than a batch holds goes in several.
func publish(t *testing.T, a admin, addrs []string) {
	topic := a.topic(t, 3, map[string]string{"cleanup.policy": "compact"})
	s := connect(kafka.Options{Brokers: addrs})(t, topic, wall).(*kafka.Sink)
	at := time.Date(2026, 11, 23, 10, 0, 0, 123456789, time.UTC)
	var sent []uplink.Message
	for i := range 400 {
		m := uplink.Message{Key: fmt.Append(nil, "gw-", i%7), Value: fmt.Appendf(nil, "%d %s", i, strings.Repeat("x", 10_000))}
		if i%2 == 0 {
			m.Type, m.Source, m.ID, m.Time = "tocsin.status.v1", "/acme/gw", fmt.Sprint("id.", i), at.UnixNano()
		}
		sent = append(sent, m)
	}
	if err := s.Publish(t.Context(), topic, sent); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), topic, nil); err != nil {
		t.Error("nothing to send:", err)
	}
	byKey := map[string][]string{}
	for _, m := range a.read(t, topic) {
		if want := uplink.Partition(m.Key, 3); m.Partition != want {
			t.Errorf("key %s is in partition %d, not %d", m.Key, m.Partition, want)
		}
		byKey[m.Key] = append(byKey[m.Key], m.Value)
		i := 0
		_, _ = fmt.Sscan(m.Value, &i)
		want := map[string]string{}
		if i%2 == 0 {
			want = map[string]string{"ce_specversion": "1.0", "ce_id": fmt.Sprint("id.", i), "ce_source": "/acme/gw",
				"ce_type": "tocsin.status.v1", "ce_time": "2026-11-23T10:00:00.123456789Z", "content-type": "application/json"}
		}
		if diff := cmp.Diff(want, m.Headers); diff != "" {
			t.Fatalf("message %d: %s", i, diff)
		}
	}
	want := map[string][]string{}
	for _, m := range sent {
		want[string(m.Key)] = append(want[string(m.Key)], string(m.Value))
	}
	for key := range want {
		if !slices.Equal(want[key], byKey[key]) {
			t.Errorf("key %s: %d messages are in the topic, %d were sent, or their order differs", key, len(byKey[key]), len(want[key]))
		}
	}
}

func TestPublishSaysWhyNot(t *testing.T) {
	c := embedded(t)
	s := connect(kafka.Options{Brokers: c.ListenAddrs(), Timeout: 2 * time.Second})(t, "", wall).(*kafka.Sink)
	hello := []uplink.Message{{Key: []byte("a"), Value: []byte("b")}}
	err := s.Publish(t.Context(), "nowhere", hello)
	var out uplink.Outcome
	if !errors.As(err, &out) || !errors.Is(err, uplink.ErrMissing) || !strings.Contains(out.Cure, "topics create") {
		t.Errorf("to a topic that is not there: %v", err)
	}
	nobody := connect(kafka.Options{Brokers: []string{closedPort(t)}, Timeout: time.Second})(t, "", wall).(*kafka.Sink)
	began := time.Now()
	if err := nobody.Publish(t.Context(), "events", hello); err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("where nobody listens: %v after %v", err, time.Since(began))
	}
}
