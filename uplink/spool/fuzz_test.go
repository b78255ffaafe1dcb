package spool

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detectors"
	"tocsin/uplink"
)

func sample(n int) []uplink.Record {
	rnd := rand.New(rand.NewPCG(1, 5))
	records := make([]uplink.Record, n)
	for i := range records {
		records[i] = event(rnd, uint64(i/3)<<40, uint64(100+3*i))
		records[i].Severity = detectors.Low
	}
	return records
}

func TestBlockGivesBackItsRecords(t *testing.T) {
	records := sample(7)
	b := newBlock(detectors.Low, records)
	got := &block{place: b.place, bodies: b.bodies}
	if err := got.decode(b.appendMetas(nil)); err != nil {
		t.Fatal(err)
	}
	for i := range records {
		if diff := cmp.Diff(records[i], got.record(i)); diff != "" {
			t.Errorf("record %d (-want +got):\n%s", i, diff)
		}
	}
	if got.total() != len(b.bodies) {
		t.Errorf("%d bytes of bodies, want %d", got.total(), len(b.bodies))
	}
}

// Whatever is on the disk, reading it neither panics nor makes records that
// reach outside their block; what is accepted means one thing only.
func FuzzBlock(f *testing.F) {
	for _, n := range []int{1, 2, 9} {
		f.Add(newBlock(detectors.Low, sample(n)).appendMetas(nil))
	}
	f.Add([]byte{0, 1, 100})
	f.Fuzz(func(t *testing.T, raw []byte) {
		b := &block{place: place{severity: detectors.Low, block: 100}}
		if err := b.decode(raw); err != nil {
			if !errors.Is(err, errDamaged) {
				t.Errorf("not called damaged: %v", err)
			}
			return
		}
		if b.total() > 1<<20 {
			return // nothing so large passes the length check against the bodies
		}
		b.bodies = make([]byte, b.total())
		for i := range b.metas {
			_ = b.record(i)
			_ = b.partitionOf(i, 3)
		}
		again := &block{place: b.place}
		if err := again.decode(b.appendMetas(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b.metas, again.metas, cmp.AllowUnexported(meta{})); diff != "" {
			t.Errorf("encoded and decoded (-want +got):\n%s", diff)
		}
	})
}

func FuzzFlight(f *testing.F) {
	id := laneID{"events", 2}
	flight := &flight{
		Lane:  uplink.Lane{Topic: id.topic, Partition: id.partition, Partitions: 3, Producer: uplink.Producer{ID: 4711, Epoch: 2}, Sequence: 99},
		since: time.Unix(1_795_000_000, 5), boot: "4d5e", ref: 12,
		members: []member{{place{3, detectors.High, 40}, 44, 41}, {place{3, detectors.Low, 7}, 9, 9}, {place{3, detectors.Low, 7}, 10, 9}},
	}
	f.Add(flight.encode())
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := decodeFlight(id, raw)
		if err != nil {
			return
		}
		again, err := decodeFlight(id, got.encode())
		if err != nil || !cmp.Equal(got.members, again.members, cmp.AllowUnexported(member{}, place{})) || got.Lane != again.Lane || !got.since.Equal(again.since) {
			t.Errorf("%+v became %+v: %v", got, again, err)
		}
	})
}

func FuzzUnseal(f *testing.F) {
	s, err := newSealer()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s.seal("here", []byte("short")), "here")
	f.Add(s.seal("here", bytes.Repeat([]byte("long "), 100)), "here")
	f.Fuzz(func(t *testing.T, sealed []byte, place string) {
		raw, err := s.unseal(place, sealed)
		if err != nil {
			return
		}
		if got, err := s.unseal(place, s.seal(place, raw)); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%q became %q: %v", raw, got, err)
		}
		if _, err := s.unseal(place+"!", sealed); err == nil {
			t.Error("what belongs elsewhere was taken")
		}
	})
}

func TestSealNoticesEveryFlippedBit(t *testing.T) {
	s, err := newSealer()
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{nil, []byte("short"), bytes.Repeat([]byte("long "), 30)} {
		sealed := s.seal("here", raw)
		for bit := range 8 * len(sealed) {
			damaged := bytes.Clone(sealed)
			damaged[bit/8] ^= 1 << (bit % 8)
			if _, err := s.unseal("here", damaged); err == nil {
				t.Fatalf("bit %d of %d is not noticed", bit, 8*len(sealed))
			}
		}
		if got, err := s.unseal("here", sealed); err != nil || !bytes.Equal(got, raw) {
			t.Errorf("%q became %q: %v", raw, got, err)
		}
	}
}
