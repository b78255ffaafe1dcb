package kafka

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"sync/atomic"
	"time"

	"tocsin/uplink"
)

// Offsets in an encoded batch (Kafka protocol, "Record Batch", magic 2), after
// the four bytes of the batch's own length that RawProduce wants before it.
const (
	prefix        = 4
	lengthAt      = prefix + 8
	crcAt         = prefix + 17
	attributesAt  = prefix + 21 // the checksum covers all from here on
	headerSize    = prefix + 61
	magic         = 2
	noLeaderEpoch = -1
)

// encoder encodes batches. Its memory, most of it the codec's, serves the next
// batch again. For one goroutine at a time.
type encoder struct {
	records []byte // of a compressed batch, before that
	record  []byte // one record, before its length is known
	id      []byte // of one event, and
	time    []byte // when it happened: headers, before their lengths are known
	packer  packer
}

// encode writes the batch over out, as RawProduce wants it. All records carry
// the one timestamp, in milliseconds; −1 is none.
func (e *encoder) encode(out []byte, b uplink.Batch, c codec, schema string, timestamp int64) ([]byte, error) {
	return e.seal(out, c, identity{b.Producer, b.Sequence}, len(b.Records), timestamp, func(out []byte) []byte {
		return e.appendRecords(out, b.Records, schema)
	})
}

// identity is what a broker knows a batch by, to store it once.
type identity struct {
	uplink.Producer
	sequence int32
}

// nobody is the identity of a batch that is not sent again.
var nobody = identity{uplink.Producer{ID: -1, Epoch: -1}, -1}

// seal writes a batch of n records, which records appends, over out.
func (e *encoder) seal(out []byte, c codec, by identity, n int, timestamp int64, records func([]byte) []byte) ([]byte, error) {
	if n == 0 {
		return out, errors.New("a batch without records")
	}
	out = append(out[:0], make([]byte, prefix+8+4)...) // base offset 0; the lengths follow below
	out = binary.BigEndian.AppendUint32(out, 1<<32+noLeaderEpoch)
	out = append(out, magic, 0, 0, 0, 0) // and the checksum below
	out = binary.BigEndian.AppendUint16(out, uint16(c))
	out = binary.BigEndian.AppendUint32(out, uint32(n-1)) // last offset delta
	out = binary.BigEndian.AppendUint64(out, uint64(timestamp))
	out = binary.BigEndian.AppendUint64(out, uint64(timestamp))
	out = binary.BigEndian.AppendUint64(out, uint64(by.ID))
	out = binary.BigEndian.AppendUint16(out, uint16(by.Epoch))
	out = binary.BigEndian.AppendUint32(out, uint32(by.sequence))
	out = binary.BigEndian.AppendUint32(out, uint32(n))

	if c == none {
		out = records(out)
	} else {
		var err error
		e.records = records(e.records[:0])
		if out, err = e.packer.pack(c, out, e.records); err != nil {
			return out, err
		}
	}
	binary.BigEndian.PutUint32(out, uint32(len(out)-prefix))
	binary.BigEndian.PutUint32(out[lengthAt:], uint32(len(out)-lengthAt-4))
	binary.BigEndian.PutUint32(out[crcAt:], crc32.Checksum(out[attributesAt:], castagnoli))
	return out, nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (e *encoder) appendRecords(out []byte, records []uplink.Record, schema string) []byte {
	for i := range records {
		r := &records[i]
		e.record = appendHead(e.record[:0], int64(i), r.Key, r.Body)
		e.id = uplink.AppendID(e.id[:0], r.Device, r.Epoch, r.Seq)
		e.record = e.appendEvent(e.record, attributes{r.Source, r.Type, r.Time, r.Subject, schema})
		out = appendSized(out, e.record)
	}
	return out
}

func (e *encoder) appendMessages(out []byte, messages []uplink.Message) []byte {
	for i := range messages {
		m := &messages[i]
		e.record = appendHead(e.record[:0], int64(i), m.Key, m.Value)
		if m.Type == "" {
			e.record = binary.AppendVarint(e.record, 0) // no headers
		} else {
			e.id = append(e.id[:0], m.ID...)
			e.record = e.appendEvent(e.record, attributes{source: m.Source, kind: m.Type, time: m.Time})
		}
		out = appendSized(out, e.record)
	}
	return out
}

// appendHead appends a record up to its headers.
func appendHead[K string | []byte](out []byte, offset int64, key K, value []byte) []byte {
	out = append(out, 0)                   // attributes: none are defined
	out = binary.AppendVarint(out, 0)      // timestamp, from the batch's
	out = binary.AppendVarint(out, offset) // offset, from the batch's
	if len(key) == 0 {
		out = binary.AppendVarint(out, -1) // null: goes to any partition
	} else {
		out = appendSized(out, key)
	}
	return appendSized(out, value)
}

// attributes are those of a CloudEvent, beside its id. Subject and schema may
// be empty.
type attributes struct {
	source, kind    string
	time            int64
	subject, schema string
}

// appendEvent appends the headers of a CloudEvent in binary mode (CloudEvents
// Kafka protocol binding 1.0.2, section 3.2), whose data is the record's value.
// Its id is e.id.
func (e *encoder) appendEvent(out []byte, a attributes) []byte {
	headers := int64(6)
	if a.subject != "" {
		headers++
	}
	if a.schema != "" {
		headers++
	}
	out = binary.AppendVarint(out, headers)
	out = appendHeader(out, "ce_specversion", "1.0")
	out = appendHeader(out, "ce_id", e.id)
	out = appendHeader(out, "ce_source", a.source)
	out = appendHeader(out, "ce_type", a.kind)
	e.time = time.Unix(0, a.time).UTC().AppendFormat(e.time[:0], time.RFC3339Nano)
	out = appendHeader(out, "ce_time", e.time)
	if a.subject != "" {
		out = appendHeader(out, "ce_subject", a.subject)
	}
	if a.schema != "" {
		out = appendHeader(out, "ce_dataschema", a.schema)
	}
	return appendHeader(out, "content-type", "application/json")
}

func appendHeader[T string | []byte](out []byte, name string, value T) []byte {
	return appendSized(appendSized(out, name), value)
}

// appendSized appends a value after its length.
func appendSized[T string | []byte](out []byte, value T) []byte {
	return append(binary.AppendVarint(out, int64(len(value))), value...)
}

// once is an encoded batch that is written at most once, and not at all after
// it was revoked: it tells for certain whether a broker may have seen it.
type once struct {
	raw   []byte
	taken atomic.Bool
}

var errRevoked = errors.New("the batch is no longer to be sent")

// WriteTo is how kafka-go takes the batch.
func (o *once) WriteTo(w io.Writer) (int64, error) {
	if !o.taken.CompareAndSwap(false, true) {
		return 0, errRevoked
	}
	n, err := w.Write(o.raw)
	return int64(n), err
}

// Read makes it an io.Reader, which io.Copy asks for and does not use.
func (o *once) Read([]byte) (int, error) { return 0, errRevoked }

// revoke reports whether the batch was not taken and never will be.
func (o *once) revoke() bool { return o.taken.CompareAndSwap(false, true) }
