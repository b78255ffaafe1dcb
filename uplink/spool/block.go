package spool

import (
	"encoding/binary"
	"fmt"
	"strings"

	"tocsin/detectors"
	"tocsin/uplink"
)

// Bounds of a block and of a batch, whichever is met first.
const (
	maxRecords = 1000
	maxBodies  = 512 << 10 // bytes, and of a single record's body
)

// block is records of one severity that were committed together. On disk it is
// a bucket of its own with two sealed values: what the spool must know of the
// records, and their bodies. So looking for records reads no bodies.
type block struct {
	place
	metas   []meta
	strings []string // of all records; metas hold indices into it
	bodies  []byte   // of all records, one after another; nil until needed

	partitions int32   // for which partition is right
	partition  []int32 // by index into strings; -1 not computed yet
}

// place is where the one valid copy of a queued record lies. A file and a
// severity have at most one block that begins with a given sequence.
type place struct {
	file     uint64             // its number
	severity detectors.Severity // under which it is queued
	block    uint64             // the sequence of the block's first record
}

// meta is a Record but for its body; strings are indices into the block's.
type meta struct {
	seq, alarm, epoch                  uint64
	time                               int64
	device, source, kind, subject, key uint32
	offset, size                       uint32 // of the body
	state                              uplink.State
	severity                           detectors.Severity // the record's own
}

// newBlock takes the records, which are in the order of their sequences. It
// copies the bodies, which stay the caller's.
func newBlock(severity detectors.Severity, records []uplink.Record) *block {
	b := &block{metas: make([]meta, len(records)), bodies: make([]byte, 0, bodiesOf(records))}
	b.severity, b.block = severity, records[0].Seq
	index := make(map[string]uint32)
	intern := func(s string) uint32 {
		i, ok := index[s]
		if !ok {
			i = uint32(len(b.strings))
			s = strings.Clone(s)
			index[s], b.strings = i, append(b.strings, s)
		}
		return i
	}
	for i := range records {
		r := &records[i]
		b.metas[i] = meta{
			seq: r.Seq, alarm: r.Alarm, epoch: r.Epoch, time: r.Time, state: r.State, severity: r.Severity,
			device: intern(r.Device), source: intern(r.Source), kind: intern(r.Type), subject: intern(r.Subject), key: intern(r.Key),
			offset: uint32(len(b.bodies)), size: uint32(len(r.Body)),
		}
		b.bodies = append(b.bodies, r.Body...)
	}
	return b
}

func bodiesOf(records []uplink.Record) (n int) {
	for i := range records {
		n += len(records[i].Body)
	}
	return n
}

// appendMetas appends what decode reads: the strings, then each field of all
// records in turn, since like values beside one another compress best.
func (b *block) appendMetas(raw []byte) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(b.strings)))
	for _, s := range b.strings {
		raw = binary.AppendUvarint(raw, uint64(len(s)))
		raw = append(raw, s...)
	}
	raw = binary.AppendUvarint(raw, uint64(len(b.metas)))
	var last meta
	for _, m := range b.metas {
		raw = binary.AppendUvarint(raw, m.seq-last.seq)
		last.seq = m.seq
	}
	for _, m := range b.metas {
		raw = binary.AppendUvarint(raw, m.seq-m.alarm)
	}
	for _, m := range b.metas {
		raw = binary.AppendUvarint(raw, m.epoch^last.epoch)
		last.epoch = m.epoch
	}
	for _, m := range b.metas {
		raw = binary.AppendVarint(raw, m.time-last.time)
		last.time = m.time
	}
	for _, m := range b.metas {
		raw = append(raw, byte(m.state)<<4|byte(m.severity))
	}
	for field := range stringFields {
		for i := range b.metas {
			raw = binary.AppendUvarint(raw, uint64(*b.metas[i].text(field)))
		}
	}
	for _, m := range b.metas {
		raw = binary.AppendUvarint(raw, uint64(m.size))
	}
	return raw
}

const stringFields = 5

// text is one of the indices into the block's strings.
func (m *meta) text(field int) *uint32 {
	return [stringFields]*uint32{&m.device, &m.source, &m.kind, &m.subject, &m.key}[field]
}

// decode fills b with what appendMetas wrote. Every index and offset is in
// range afterwards, whatever raw is.
func (b *block) decode(raw []byte) error {
	r := reader{rest: raw}
	b.strings = make([]string, r.count(1))
	for i := range b.strings {
		b.strings[i] = string(r.bytes(r.uvarint()))
	}
	b.metas = make([]meta, r.count(1+1+1+1+1+stringFields+1))
	var last meta
	for i := range b.metas {
		b.metas[i].seq = last.seq + r.uvarint()
		if b.metas[i].seq <= last.seq {
			r.bad = true
		}
		last.seq = b.metas[i].seq
	}
	for i := range b.metas {
		since := r.uvarint()
		if since >= b.metas[i].seq {
			r.bad = true
		}
		b.metas[i].alarm = b.metas[i].seq - since
	}
	for i := range b.metas {
		last.epoch ^= r.uvarint()
		b.metas[i].epoch = last.epoch
	}
	for i := range b.metas {
		last.time += r.varint()
		b.metas[i].time = last.time
	}
	for i := range b.metas {
		both := r.byte()
		b.metas[i].state, b.metas[i].severity = uplink.State(both>>4), detectors.Severity(both&15)
		if !valid(b.metas[i].state, b.metas[i].severity) {
			r.bad = true
		}
	}
	for field := range stringFields {
		for i := range b.metas {
			*b.metas[i].text(field) = r.index(len(b.strings))
		}
	}
	var offset uint32
	for i := range b.metas {
		b.metas[i].offset, b.metas[i].size = offset, r.index(maxBodies+1)
		offset += b.metas[i].size
		if offset > maxUnsealed {
			r.bad = true
			break
		}
	}
	if r.bad || len(r.rest) > 0 || len(b.metas) == 0 || b.metas[0].seq != b.block {
		return fmt.Errorf("%w: block %d does not hold what it should", errDamaged, b.block)
	}
	return nil
}

func valid(state uplink.State, severity detectors.Severity) bool {
	return state >= uplink.Raised && state <= uplink.Cleared && severity >= detectors.Low && severity <= detectors.Critical
}

// total is how many bytes the bodies have together.
func (b *block) total() int {
	last := b.metas[len(b.metas)-1]
	return int(last.offset) + int(last.size)
}

// record makes the Record again. Its body is a part of the block's.
func (b *block) record(i int) uplink.Record {
	m := &b.metas[i]
	end := m.offset + m.size
	return uplink.Record{
		Epoch: m.epoch, Seq: m.seq, Alarm: m.alarm, State: m.state, Severity: m.severity, Time: m.time,
		Device: b.strings[m.device], Source: b.strings[m.source], Type: b.strings[m.kind],
		Subject: b.strings[m.subject], Key: b.strings[m.key], Body: b.bodies[m.offset:end:end],
	}
}

// partitionOf is the partition of a record when the topic has so many.
func (b *block) partitionOf(i int, partitions int32) int32 {
	if b.partitions != partitions {
		b.partitions, b.partition = partitions, make([]int32, len(b.strings))
		for s := range b.partition {
			b.partition[s] = -1
		}
	}
	p := &b.partition[b.metas[i].key]
	if *p < 0 {
		*p = uplink.Partition(b.strings[b.metas[i].key], partitions)
	}
	return *p
}
