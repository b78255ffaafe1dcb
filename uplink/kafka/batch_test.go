package kafka

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/segmentio/kafka-go/protocol"

	"tocsin/uplink"
)

func testBatch(n int) uplink.Batch {
	b := uplink.Batch{Lane: uplink.Lane{Producer: uplink.Producer{ID: 1<<40 + 7, Epoch: 3}, Sequence: 1<<31 - 2}}
	for i := range n {
		b.Records = append(b.Records, uplink.Record{
			Epoch: 0x00fedcba98765432, Seq: uint64(i) + 1, Time: 1_700_000_000_000_000_000 + int64(i), Device: "gw-1",
			Source: "/acme/gw-1", Type: "tocsin.alarm.raised.v1", Subject: "pump1.vibration", Key: "acme/pump1",
			Body: bytes.Repeat([]byte(`{"alarm_id":"gw-1.00fedcba98765432.1","state":"raised","value":4.75} `), i%5),
		})
	}
	return b
}

// What is encoded, kafka-go's decoder reads back, for every codec; it also
// checks the lengths and the checksum.
func TestEncodeIsDecoded(t *testing.T) {
	for c, name := range codecNames {
		t.Run(name, func(t *testing.T) {
			var e encoder
			var raw []byte
			for _, n := range []int{1, 300, 2} { // the buffers are used again
				b := testBatch(n)
				const stamp = 1_750_000_000_123
				var err error
				if raw, err = e.encode(raw, b, codec(c), "urn:schema", stamp); err != nil {
					t.Fatal(err)
				}
				var set protocol.RecordSet
				if _, err := set.ReadFrom(bytes.NewReader(raw)); err != nil {
					t.Fatal(err)
				}
				batch := set.Records.(*protocol.RecordStream).Records[0].(*protocol.RecordBatch)
				got := []any{batch.ProducerID, batch.ProducerEpoch, batch.BaseSequence, int(set.Attributes)}
				if diff := cmp.Diff([]any{b.Producer.ID, b.Producer.Epoch, b.Sequence, c}, got); diff != "" {
					t.Error(diff)
				}
				for i := range b.Records {
					r, err := batch.ReadRecord()
					if err != nil {
						t.Fatalf("record %d of %d: %v", i, n, err)
					}
					checkRecord(t, r, int64(i), stamp, b.Records[i])
				}
				if _, err := batch.ReadRecord(); !errors.Is(err, io.EOF) {
					t.Error("more records than were encoded:", err)
				}
			}
		})
	}
}

func checkRecord(t *testing.T, r *protocol.Record, offset, stamp int64, want uplink.Record) {
	t.Helper()
	key, _ := protocol.ReadAll(r.Key)
	value, _ := protocol.ReadAll(r.Value)
	var headers []string
	for _, h := range r.Headers {
		headers = append(headers, h.Key+": "+string(h.Value))
	}
	got := []any{r.Offset, r.Time.UnixMilli(), string(key), string(value), strings.Join(headers, "\n")}
	if diff := cmp.Diff([]any{offset, stamp, want.Key, string(want.Body), strings.Join([]string{
		"ce_specversion: 1.0",
		"ce_id: " + want.ID(),
		"ce_source: " + want.Source,
		"ce_type: " + want.Type,
		"ce_time: " + time.Unix(0, want.Time).UTC().Format(time.RFC3339Nano),
		"ce_subject: " + want.Subject,
		"ce_dataschema: urn:schema",
		"content-type: application/json",
	}, "\n")}, got); diff != "" {
		t.Error(diff)
	}
}

// A clock that is not trusted leaves the records without a time.
func TestNoTimestamp(t *testing.T) {
	raw, err := new(encoder).encode(nil, testBatch(1), none, "", stamp(time.Now(), false))
	if err != nil {
		t.Fatal(err)
	}
	minusOne := bytes.Repeat([]byte{0xff}, 16)
	if got := raw[prefix+27 : prefix+43]; !bytes.Equal(got, minusOne) {
		t.Errorf("timestamps are % x", got)
	}
}

func TestEncodeRefusesNothing(t *testing.T) {
	if _, err := new(encoder).encode(nil, uplink.Batch{}, none, "", 0); err == nil {
		t.Error("a batch without records was encoded")
	}
}

// A batch costs no allocation once the buffers have grown.
func TestEncodeAllocations(t *testing.T) {
	b := testBatch(1000)
	for _, c := range []codec{none, snappied, zstded} {
		var e encoder
		var raw []byte
		if n := testing.AllocsPerRun(20, func() { raw, _ = e.encode(raw, b, c, "", 1) }); n > 1 {
			t.Errorf("%s: %v allocations a batch", codecNames[c], n)
		}
	}
}

// Once revoked a batch is never written; once written it cannot be revoked.
func TestOnce(t *testing.T) {
	var w bytes.Buffer
	o := &once{raw: []byte("batch")}
	if !o.revoke() {
		t.Error("a batch that nobody took cannot be revoked")
	}
	if n, err := io.Copy(&w, o); n != 0 || !errors.Is(err, errRevoked) {
		t.Errorf("a revoked batch was written: %d bytes, %v", n, err)
	}
	o = &once{raw: []byte("batch")}
	if n, err := io.Copy(&w, o); n != 5 || err != nil {
		t.Error(n, err)
	}
	if o.revoke() {
		t.Error("a batch that was written could be revoked")
	}
}

func BenchmarkEncode(b *testing.B) {
	batch := testBatch(1000)
	for c, name := range codecNames {
		b.Run(name, func(b *testing.B) {
			var e encoder
			var raw []byte
			b.ReportAllocs()
			for b.Loop() {
				raw, _ = e.encode(raw, batch, codec(c), "", 1)
			}
			b.ReportMetric(float64(len(raw))/float64(len(batch.Records)), "bytes/event")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/event")
		})
	}
}
