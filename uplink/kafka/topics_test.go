package kafka_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

func TestTopics(t *testing.T) {
	c := embedded(t)
	topics(t, embeddedAdmin(c), c.ListenAddrs())
}

func TestTopicsReal(t *testing.T) {
	addrs := []string{env(t, "TOCSIN_TEST_KAFKA", "127.0.0.1:9092")}
	topics(t, realAdmin(addrs), addrs)
}

// topics: what is created passes the check; what differs is found, with its
// cure; what is missing says so.
func topics(t *testing.T, a admin, addrs []string) {
	s, err := kafka.New(kafka.Options{Brokers: addrs, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name := "tocsin-topics-" + time.Now().Format("150405.000000000")
	good := []kafka.Topic{kafka.Events(name, 3, 1, 30*24*time.Hour), kafka.Status(name+"-status", 1, 1)}

	_, err = s.CheckTopics(t.Context(), good...)
	var out uplink.Outcome
	if !errors.As(err, &out) || !errors.Is(err, uplink.ErrMissing) || !strings.Contains(out.Cure, "topics create") {
		t.Errorf("topics that are not there: %v", err)
	}
	if err := s.CreateTopics(t.Context(), good...); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateTopics(t.Context(), good...); !errors.Is(err, kafkago.TopicAlreadyExists) {
		t.Errorf("topics that are there: %v", err)
	}
	if found, err := s.CheckTopics(t.Context(), good...); len(found) != 0 || err != nil {
		t.Errorf("topics just created: %+v, %v", found, err)
	}

	bad := a.topic(t, 1, map[string]string{
		"cleanup.policy": "compact", "message.timestamp.type": "CreateTime", "max.message.bytes": "1000", "retention.ms": "60000",
	})
	found, err := s.CheckTopics(t.Context(), kafka.Events(bad, 3, 3, 0))
	if err != nil {
		t.Fatal(err)
	}
	var settings []string
	for _, f := range found {
		settings = append(settings, f.Setting)
		if f.Topic != bad || f.Have == f.Want || !strings.Contains(f.Cure, ".sh") {
			t.Errorf("%+v", f)
		}
	}
	want := []string{"partitions", "replicas", "cleanup.policy", "message.timestamp.type", "max.message.bytes", "retention.ms"}
	if !slices.Equal(settings, want) {
		t.Errorf("found %v, want %v", settings, want)
	}
}

func TestACLs(t *testing.T) {
	got := strings.Join(kafka.ACLs("User:CN=gw-7", "events", "status"), "\n")
	for _, want := range []string{"'User:CN=gw-7'", "--topic events", "--topic status", "--operation Write", "--operation Describe ", "IdempotentWrite", "--cluster"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}
