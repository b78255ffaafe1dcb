package kafka

import (
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
		out, _ := judge(fmt.Errorf("send: %w", fmt.Errorf("%w: the broker's own words", code)), "events")
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
		out, _ := judge(fmt.Errorf("kafka.(*Client).RawProduce: %w", c.err), "events")
		if out.Result != c.result || out.Unknown != c.unknown {
			t.Errorf("%v: result %d, unknown %v; want %d, %v", c.err, out.Result, out.Unknown, c.result, c.unknown)
		}
	}
}
