package kafka_test

import (
	"context"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"tocsin/uplink"
	"tocsin/uplink/kafka"
	"tocsin/uplink/uplinktest"
)

const perBatch = 1000

// BenchmarkSend compares the Sink with kafka-go's own Client.Produce on a real
// cluster: CPU seconds of this process a million events, and allocations an
// event, at 1,000 events a batch.
func BenchmarkSend(b *testing.B) {
	addr := os.Getenv("TOCSIN_TEST_KAFKA")
	if addr == "" {
		b.Skip("no real Kafka: set TOCSIN_TEST_KAFKA")
	}
	addrs := []string{addr}
	a := realAdmin(addrs)
	records := uplinktest.Events(7, 0, perBatch)
	for _, codec := range []string{"none", "zstd"} {
		b.Run("Send/"+codec, func(b *testing.B) {
			topic := a.topic(b, 1, nil)
			s, err := kafka.New(kafka.Options{Brokers: addrs, Topic: topic, Codec: codec})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			p, err := s.Producer(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			batch := uplink.Batch{Lane: uplink.Lane{Topic: topic, Partitions: 1, Producer: p}, Records: records}
			measure(b, func(ctx context.Context) error {
				if out := s.Send(ctx, batch); out.Result != uplink.Acknowledged {
					return out
				}
				batch.Sequence += perBatch
				return nil
			})
		})
		b.Run("Produce/"+codec, func(b *testing.B) {
			topic := a.topic(b, 1, nil)
			c := kafkago.Client{Addr: kafkago.TCP(addrs...), Transport: &kafkago.Transport{MetadataTopics: []string{topic}}}
			compression := map[string]kafkago.Compression{"zstd": kafkago.Zstd}[codec]
			measure(b, func(ctx context.Context) error {
				_, err := c.Produce(ctx, &kafkago.ProduceRequest{
					Topic: topic, RequiredAcks: kafkago.RequireAll, Compression: compression, Records: peerRecords(records),
				})
				return err
			})
		})
	}
}

// peerRecords gives kafka-go the same events, with as little work as it allows.
func peerRecords(records []uplink.Record) kafkago.RecordReader {
	peers := make([]kafkago.Record, len(records))
	for i := range records {
		r := &records[i]
		peers[i] = kafkago.Record{
			Key: kafkago.NewBytes([]byte(r.Key)), Value: kafkago.NewBytes(r.Body),
			Headers: []protocol.Header{
				{Key: "ce_specversion", Value: []byte("1.0")},
				{Key: "ce_id", Value: []byte(r.ID())},
				{Key: "ce_source", Value: []byte(r.Source)},
				{Key: "ce_type", Value: []byte(r.Type)},
				{Key: "ce_time", Value: time.Unix(0, r.Time).UTC().AppendFormat(nil, time.RFC3339Nano)},
				{Key: "ce_subject", Value: []byte(r.Subject)},
				{Key: "content-type", Value: []byte("application/json")},
			},
		}
	}
	return kafkago.NewRecordReader(peers...)
}

func measure(b *testing.B, send func(context.Context) error) {
	for range 20 { // connections, buffers
		if err := send(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	var before, after syscall.Rusage
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		if err := send(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	runtime.ReadMemStats(&m1)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	events := float64(b.N) * perBatch
	b.ReportMetric(cpu.Seconds()/events*1e6, "cpu-s/M")
	b.ReportMetric(float64(m1.Mallocs-m0.Mallocs)/events, "allocs/event")
}
