package kafka_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

func TestClaim(t *testing.T) {
	c := embedded(t)
	claim(t, embeddedAdmin(c), c.ListenAddrs())
}

func TestRealClaim(t *testing.T) {
	addrs := []string{env(t, "TOCSIN_TEST_KAFKA", "127.0.0.1:9092")}
	claim(t, realAdmin(addrs), addrs)
}

// claim: each of two sinks reads what the other has left, another group's notes
// are its own, and nothing is written into the topic.
func claim(t *testing.T, a admin, addrs []string) {
	topic := a.topic(t, 1, nil)
	one := connect(kafka.Options{Brokers: addrs})(t, "", wall).(*kafka.Sink)
	two := connect(kafka.Options{Brokers: addrs})(t, "", wall).(*kafka.Sink)
	for _, step := range []struct {
		sink              *kafka.Sink
		group, note, want string
	}{
		{one, topic + ".gw-1", "one", ""},
		{one, topic + ".gw-1", "one again", "one"},
		{two, topic + ".gw-1", "two ünd mehr", "one again"},
		{one, topic + ".gw-1", "one", "two ünd mehr"},
		{two, topic + ".gw-2", "two", ""},
		{two, topic + ".gw-1", "two", "one"},
	} {
		var got string
		var err error
		// The group's coordinator is elected at the first request.
		for range 40 {
			if got, err = step.sink.Claim(t.Context(), step.group, topic, step.note); err == nil {
				break
			}
			t.Log(err)
			time.Sleep(50 * time.Millisecond)
		}
		if err != nil || got != step.want {
			t.Fatalf("%s leaves %q and reads %q, %v; want %q", step.group, step.note, got, err, step.want)
		}
	}
	if got := a.read(t, topic); len(got) != 0 {
		t.Errorf("claims wrote %d records", len(got))
	}
}

// A gateway that may not use the group hears so, with what to ask for.
func TestClaimWithoutTheRight(t *testing.T) {
	c := embedded(t, kfake.SeedTopics(1, "status"))
	s := connect(kafka.Options{Brokers: c.ListenAddrs()})(t, "", wall).(*kafka.Sink)
	c.ControlKey(int16(kmsg.OffsetFetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.OffsetFetchResponse)
		resp.ErrorCode = kerr.GroupAuthorizationFailed.Code
		return resp, nil, true
	})
	_, err := s.Claim(t.Context(), "tocsin.gw", "status", "me")
	var out uplink.Outcome
	if !errors.As(err, &out) || out.Result != uplink.Hold || !strings.Contains(out.Cure, "topics check") || !strings.Contains(err.Error(), "tocsin.gw") {
		t.Errorf("without the right: %v", err)
	}
	if got := strings.Join(kafka.ClaimACLs("User:gw", "tocsin.gw", "status"), "\n"); !strings.Contains(got, "--group tocsin.gw") || !strings.Contains(got, "--topic status") {
		t.Error(got)
	}
}
