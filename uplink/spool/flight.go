package spool

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// laneID is a partition. It has at most one batch in flight.
type laneID struct {
	topic     string
	partition int32
}

func (id laneID) key() string { return id.topic + "/" + strconv.Itoa(int(id.partition)) }

func parseLaneID(key string) (laneID, bool) {
	i := strings.LastIndexByte(key, '/')
	p, err := strconv.ParseInt(key[i+1:], 10, 32)
	return laneID{key[:max(i, 0)], int32(p)}, i >= 0 && err == nil
}

// flight is a batch in flight. Its members and their order never change while
// it is one, but for the truncation that Rewrite makes; where their valid copies
// lie may.
type flight struct {
	uplink.Lane
	members []member
	since   time.Time
	boot    string
	ref     uint64
	dirty   bool // the disk does not have it so yet
}

type member struct {
	place
	seq, alarm uint64
}

func (f *flight) encode() []byte {
	raw := binary.AppendVarint(nil, f.Producer.ID)
	raw = binary.AppendVarint(raw, int64(f.Producer.Epoch))
	raw = binary.AppendVarint(raw, int64(f.Sequence))
	raw = binary.AppendVarint(raw, int64(f.Partitions))
	raw = binary.AppendVarint(raw, f.since.UnixNano())
	raw = binary.AppendUvarint(raw, f.ref)
	raw = binary.AppendUvarint(raw, uint64(len(f.boot)))
	raw = append(raw, f.boot...)
	raw = binary.AppendUvarint(raw, uint64(len(f.members)))
	var last member
	for _, m := range f.members {
		raw = binary.AppendVarint(raw, int64(m.seq-last.seq))
		raw = binary.AppendUvarint(raw, m.seq-m.alarm)
		raw = binary.AppendVarint(raw, int64(m.file-last.file))
		raw = binary.AppendVarint(raw, int64(m.block-last.block))
		raw = append(raw, byte(m.severity))
		last = m
	}
	return raw
}

func decodeFlight(id laneID, raw []byte) (*flight, error) {
	r := reader{rest: raw}
	f := &flight{Lane: uplink.Lane{Topic: id.topic, Partition: id.partition}}
	f.Producer.ID = r.varint()
	f.Producer.Epoch = int16(r.between(math.MinInt16, math.MaxInt16))
	f.Sequence = int32(r.between(0, math.MaxInt32))
	f.Partitions = int32(r.between(1, math.MaxInt32))
	f.since = time.Unix(0, r.varint())
	f.ref = r.uvarint()
	f.boot = string(r.bytes(r.uvarint()))
	f.members = make([]member, r.count(5))
	var last member
	for i := range f.members {
		last.seq += uint64(r.varint())
		last.alarm = last.seq - r.uvarint()
		last.file += uint64(r.varint())
		last.block += uint64(r.varint())
		last.severity = detectors.Severity(r.byte())
		if !valid(uplink.Raised, last.severity) || last.seq == 0 {
			r.bad = true
		}
		f.members[i] = last
	}
	if r.bad || len(r.rest) > 0 || len(f.members) == 0 {
		return nil, fmt.Errorf("%w: the batch in flight to %s", errDamaged, id.key())
	}
	return f, nil
}
