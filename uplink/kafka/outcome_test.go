package kafka

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"tocsin/uplink"
)

// A code that the table leaves out may have been stored and may pass.
func TestJudgeEveryCode(t *testing.T) {
	for code := kafkago.Error(-1); code < 130; code++ {
		out, _ := judge(fmt.Errorf("send: %w", fmt.Errorf("%w: the broker's own words", code)), "events", door{})
		r, listed := remedies[code]
		switch {
		case !listed:
			if out.Result != uplink.Again || !out.Unknown {
				t.Errorf("%v: %+v", code, out)
			}
		case out.Result != r.result || out.Unknown != r.unknown || strings.Contains(out.Cure, "{"):
			t.Errorf("%v: %+v, want %+v", code, out, r)
		case out.Result == uplink.Hold && out.Cure == "":
			t.Errorf("%v holds without a cure", code)
		}
		if missing := errors.Is(out.Err, uplink.ErrMissing); missing != (code == kafkago.UnknownTopicOrPartition) {
			t.Errorf("%v: wraps ErrMissing: %v", code, missing)
		}
	}
}

// What must not be taken for another: a mistake here loses events or repeats
// them.
func TestJudgeWhatMatters(t *testing.T) {
	for _, c := range []struct {
		err     error
		result  uplink.Result
		unknown bool
	}{
		{kafkago.OutOfOrderSequenceNumber, uplink.NewProducer, false},
		{kafkago.InvalidProducerEpoch, uplink.NewProducer, false},
		{kafkago.UnknownProducerId, uplink.NewProducer, false},
		{kafkago.InvalidRecord, uplink.NewProducer, false},
		{kafkago.DuplicateSequenceNumber, uplink.Acknowledged, false},
		{kafkago.MessageSizeTooLarge, uplink.TooLarge, false},
		{kafkago.RecordListTooLarge, uplink.TooLarge, false},
		{kafkago.RequestTimedOut, uplink.Again, true},
		{kafkago.NotEnoughReplicas, uplink.Again, false},
		{kafkago.NotEnoughReplicasAfterAppend, uplink.Again, true},
		{kafkago.NotLeaderForPartition, uplink.Again, true},
		{kafkago.TopicAuthorizationFailed, uplink.Hold, false},
		{kafkago.SASLAuthenticationFailed, uplink.Hold, false},
		{kafkago.InvalidTimestamp, uplink.Hold, false},
		{protocol.NewErrNoTopic("events"), uplink.Hold, true},
		{protocol.NewErrNoLeader("events", 1), uplink.Again, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, uplink.Again, false},
		{&net.OpError{Op: "read", Err: syscall.ECONNRESET}, uplink.Again, false},
		{io.ErrUnexpectedEOF, uplink.Again, false},
		{&net.DNSError{Name: "broker", Err: "no such host"}, uplink.Again, false},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, uplink.Hold, false},
		{fmt.Errorf("%w: broker appears to be expecting TLS", io.ErrUnexpectedEOF), uplink.Hold, false},
	} {
		out, _ := judge(fmt.Errorf("kafka.(*Client).RawProduce: %w", c.err), "events", door{})
		if out.Result != c.result || out.Unknown != c.unknown {
			t.Errorf("%v: result %d, unknown %v; want %d, %v", c.err, out.Result, out.Unknown, c.result, c.unknown)
		}
	}
}

// The same refusal has another cure behind another door.
func TestCureByDoor(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	for _, c := range []struct {
		err  error
		door door
		want string
		not  string
	}{
		{io.EOF, door{}, "may expect TLS or a log-in", "remove tls"},
		{io.EOF, door{tls: true, cert: true}, "may not be encrypted (remove tls from [kafka]), or the broker asks for a log-in", "set cert"},
		{io.EOF, door{tls: true}, "or for a certificate (set cert and key", "expect TLS"},
		{alert, door{tls: true}, "asks for a certificate: set cert and key", "dates"},
		{alert, door{tls: true, cert: true}, "check cert and key in [kafka] tls, and their dates", "set cert"},
		{kafkago.InvalidReplicationFactor, door{}, "--replicas 1", "tls"},
	} {
		out, _ := judge(c.err, "events", c.door)
		if !strings.Contains(out.Cure, c.want) || strings.Contains(out.Cure, c.not) {
			t.Errorf("%v behind %+v: cure %q, want %q", c.err, c.door, out.Cure, c.want)
		}
	}
	with := Options{Brokers: []string{"a:1"}, TLS: func(string) *tls.Config { return &tls.Config{Certificates: make([]tls.Certificate, 1)} }}
	if got := with.door(); got != (door{tls: true, cert: true}) {
		t.Errorf("door with a certificate: %+v", got)
	}
}
