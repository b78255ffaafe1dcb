package kafka

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strconv"
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
	text    []byte // one header's value, before that
	packer  packer
}

// encode writes the batch over out, as RawProduce wants it. All records carry
// the one timestamp, in milliseconds; −1 is none.
func (e *encoder) encode(out []byte, b uplink.Batch, c codec, schema string, timestamp int64) ([]byte, error) {
	n := int32(len(b.Records))
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
	out = binary.BigEndian.AppendUint64(out, uint64(b.Producer.ID))
	out = binary.BigEndian.AppendUint16(out, uint16(b.Producer.Epoch))
	out = binary.BigEndian.AppendUint32(out, uint32(b.Sequence))
	out = binary.BigEndian.AppendUint32(out, uint32(n))

	if c == none {
		out = e.appendRecords(out, b.Records, schema)
	} else {
		var err error
		e.records = e.appendRecords(e.records[:0], b.Records, schema)
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
		e.record = e.appendRecord(e.record[:0], int64(i), &records[i], schema)
		out = binary.AppendVarint(out, int64(len(e.record)))
		out = append(out, e.record...)
	}
	return out
}

// appendRecord appends a record without its length: a CloudEvent in binary mode
// (CloudEvents Kafka protocol binding 1.0.2, section 3.2). Its attributes are
// headers, its data the value.
func (e *encoder) appendRecord(out []byte, offset int64, r *uplink.Record, schema string) []byte {
	out = append(out, 0)                   // attributes: none are defined
	out = binary.AppendVarint(out, 0)      // timestamp, from the batch's
	out = binary.AppendVarint(out, offset) // offset, from the batch's
	if r.Key == "" {
		out = binary.AppendVarint(out, -1) // null: goes to any partition
	} else {
		out = appendSized(out, r.Key)
	}
	out = appendSized(out, r.Body)

	headers := int64(6)
	if r.Subject != "" {
		headers++
	}
	if schema != "" {
		headers++
	}
	out = binary.AppendVarint(out, headers)
	out = appendHeader(out, "ce_specversion", "1.0")
	e.text = appendID(e.text[:0], r)
	out = appendHeader(out, "ce_id", e.text)
	out = appendHeader(out, "ce_source", r.Source)
	out = appendHeader(out, "ce_type", r.Type)
	e.text = time.Unix(0, r.Time).UTC().AppendFormat(e.text[:0], time.RFC3339Nano)
	out = appendHeader(out, "ce_time", e.text)
	if r.Subject != "" {
		out = appendHeader(out, "ce_subject", r.Subject)
	}
	if schema != "" {
		out = appendHeader(out, "ce_dataschema", schema)
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

// appendID is uplink.Record.ID without an allocation.
func appendID(out []byte, r *uplink.Record) []byte {
	const digits = "0123456789abcdef"
	out = append(append(out, r.Device...), '.')
	for shift := 60; shift >= 0; shift -= 4 {
		out = append(out, digits[r.Epoch>>shift&15])
	}
	return strconv.AppendUint(append(out, '.'), r.Seq, 10)
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
