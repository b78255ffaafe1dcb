// Package kafka sends batches to Apache Kafka, 2.1 or later, as an idempotent
// producer: CloudEvents 1.0 in Kafka's binary mode, acknowledged by every
// in-sync replica.
//
// It uses kafka-go below its Writer, which has no idempotence: Client.RawProduce
// carries record batches that this package encodes itself.
package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"tocsin/uplink"
)

// Options are a site's settings and the agent's clock.
type Options struct {
	Brokers []string // host:port, at least one; the others are found through it
	Topic   string   // for events; Partitions and Send take others too
	// TLS is the configuration for a connection to an address, host:port, with the
	// name to check in it. Nil: not encrypted.
	TLS      func(address string) *tls.Config
	SASL     *SASL         // nil: no log-in
	Codec    string        // none, gzip, snappy, lz4 or zstd; default zstd
	Timeout  time.Duration // that one exchange may take, connecting included; default 10 s
	ClientID string        // names this gateway in the brokers' logs and quotas
	Schema   string        // ce_dataschema, a URI; empty: none
	// Now is the wall clock and whether it can be trusted: records carry the
	// time of sending, or none (−1) while it cannot. Default: time.Now, trusted.
	Now func() (now time.Time, trusted bool)
}

// Sink is an uplink.Sink. It connects when first used, and again whenever the
// cluster answers that it has changed.
type Sink struct {
	o       Options
	codec   codec
	cluster cluster

	buffers  sync.Pool  // of *[]byte: encoded batches
	encoding sync.Mutex // one batch is encoded at a time: a codec's memory is large, and its work short
	encoder  encoder    // guarded by encoding
}

var _ uplink.Sink = (*Sink)(nil)

// New checks the options. It does not connect.
func New(o Options) (*Sink, error) {
	if len(o.Brokers) == 0 {
		return nil, errors.New("kafka: no brokers are given")
	}
	c, err := codecNamed(o.Codec)
	if err != nil {
		return nil, err
	}
	if err := o.SASL.check(); err != nil {
		return nil, err
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = func() (time.Time, bool) { return time.Now(), true }
	}
	s := &Sink{o: o, codec: c}
	s.buffers.New = func() any { return new([]byte) }
	s.cluster.init(o)
	return s, nil
}

// Close ends every connection. Calls under way fail.
func (s *Sink) Close() error {
	s.cluster.close()
	return nil
}

// Partitions asks the cluster how many partitions the topic has. Its error is
// an uplink.Outcome.
func (s *Sink) Partitions(ctx context.Context, topic string) (int32, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	s.cluster.renew(nil) // kafka-go would answer from memory
	use := s.cluster.use(topic)
	defer s.cluster.done(use)
	got, err := use.layout(ctx, topic)
	if err != nil {
		return 0, s.outcome(use, topic, fmt.Errorf("ask for the partitions of topic %q: %w", topic, bare(err)))
	}
	return int32(len(got.Partitions)), nil
}

// producerRequest is InitProducerId without kafka-go's routing: as a request of
// a transaction it would first ask for the coordinator of the transaction "",
// which a gateway has no right to know.
type producerRequest initproducerid.Request

// ApiKey is that of InitProducerId.
func (*producerRequest) ApiKey() protocol.ApiKey { return protocol.InitProducerId }

// Producer asks for a fresh idempotent producer. Its error is an
// uplink.Outcome.
func (s *Sink) Producer(ctx context.Context) (uplink.Producer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	use := s.cluster.use(s.o.Topic)
	defer s.cluster.done(use)
	m, err := use.transport.RoundTrip(ctx, use.client.Addr, &producerRequest{ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return uplink.Producer{}, s.outcome(use, s.o.Topic, fmt.Errorf("ask for a producer id: %w", bare(err)))
	}
	r := m.(*initproducerid.Response)
	if r.ErrorCode != 0 {
		return uplink.Producer{}, s.outcome(use, s.o.Topic, fmt.Errorf("ask for a producer id: %w", kafkago.Error(r.ErrorCode)))
	}
	return uplink.Producer{ID: r.ProducerID, Epoch: r.ProducerEpoch}, nil
}

// codecCure is for a batch that cannot be encoded.
const codecCure = "choose another codec in [kafka]"

// Send sends the batch once.
func (s *Sink) Send(ctx context.Context, b uplink.Batch) uplink.Outcome {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	buffer := s.buffers.Get().(*[]byte)
	err := s.encoded(buffer, func(to []byte, timestamp int64) ([]byte, error) {
		return s.encoder.encode(to, b, s.codec, s.o.Schema, timestamp)
	})
	if err != nil {
		return uplink.Outcome{Result: uplink.Hold, Err: fmt.Errorf("encode %d events: %w", len(b.Records), err), Cure: codecCure}
	}
	use := s.cluster.use(b.Topic)
	defer s.cluster.done(use)
	return s.produce(ctx, use, b.Topic, int(b.Partition), buffer, fmt.Sprintf("%d events to %s/%d", len(b.Records), b.Topic, b.Partition))
}

// encoded lets encode, which may use s.encoder, write over the buffer.
func (s *Sink) encoded(buffer *[]byte, encode func(to []byte, timestamp int64) ([]byte, error)) (err error) {
	now, trusted := s.o.Now()
	s.encoding.Lock()
	defer s.encoding.Unlock()
	*buffer, err = encode(*buffer, stamp(now, trusted))
	return err
}

// produce sends an encoded batch once and gives its buffer back. what names it
// in errors.
func (s *Sink) produce(ctx context.Context, use *session, topic string, partition int, buffer *[]byte, what string) uplink.Outcome {
	body := &once{raw: *buffer}
	got, err := use.client.RawProduce(ctx, &kafkago.RawProduceRequest{
		Topic:        topic,
		Partition:    partition,
		RequiredAcks: kafkago.RequireAll,
		RawRecords:   protocol.RawRecordSet{Reader: body},
	})
	if err != nil {
		// kafka-go may still be reading the buffer: it is left to the garbage
		// collector.
		sent := !body.revoke()
		if !sent {
			err = use.explain(ctx, topic, err)
		}
		out := s.outcome(use, topic, fmt.Errorf("send %s: %w", what, bare(err)))
		out.Unknown = sent
		return out
	}
	s.buffers.Put(buffer)
	if got.Error != nil {
		return s.outcome(use, topic, fmt.Errorf("send %s: %w", what, got.Error))
	}
	return uplink.Outcome{}
}

// outcome is what an error means, and the end of a session whose picture of the
// cluster it shows to be wrong.
func (s *Sink) outcome(use *session, topic string, err error) uplink.Outcome {
	out, stale := judge(err, topic, s.o.door())
	if stale {
		s.cluster.renew(use)
	}
	return out
}

// stamp is the records' Kafka timestamp in milliseconds. It is the time of
// sending, not of the event: brokers forget a producer whose records are older
// than a day, and with it what was sent twice.
func stamp(now time.Time, trusted bool) int64 {
	if !trusted {
		return -1
	}
	return now.UnixMilli()
}
