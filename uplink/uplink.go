// Package uplink says what an event record is and how it reaches Kafka: kept in
// a Spool until a Sink has it acknowledged, exactly once in effect. Its
// sub-packages are the spool (bbolt) and the sink (Apache Kafka); this package
// imports neither.
package uplink

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"tocsin/detectors"
)

// State is where in the life of an alarm (ISA-18.2) an event stands.
type State uint8

// The three states an event can tell of.
const (
	Raised State = iota + 1
	Updated
	Cleared
)

func (s State) String() string { return [...]string{"", "raised", "updated", "cleared"}[s] }

// Record is one event on its way to Kafka. Once appended to a Spool neither its
// bytes nor its identity ever change.
type Record struct {
	Epoch    uint64 // of the store that gave Seq out; random, so Seq is unique within it
	Seq      uint64 // counts the events of a store from 1
	Alarm    uint64 // Seq of the record that raised the alarm (its own for a raise)
	State    State
	Severity detectors.Severity // the highest the alarm has had so far
	Time     int64              // when it happened, nanoseconds since 1970 UTC (ce_time)
	Device   string             // first part of ID
	Source   string             // ce_source, a URI reference: "/acme/plant3/press-shop/line1/gw-0042"
	Type     string             // ce_type: "tocsin.alarm.raised.v1"
	Subject  string             // ce_subject: the channel
	Key      string             // Kafka key: the machine's path, or the device's
	Body     []byte             // JSON
}

// ID is the record's ce_id, the same whenever and however often it is sent.
func (r *Record) ID() string { return ID(r.Device, r.Epoch, r.Seq) }

// ID makes a ce_id or an alarm_id: device.epoch.sequence.
func ID(device string, epoch, seq uint64) string {
	return string(AppendID(make([]byte, 0, len(device)+1+16+1+20), device, epoch, seq))
}

// AppendID appends what ID makes.
func AppendID(to []byte, device string, epoch, seq uint64) []byte {
	const digits = "0123456789abcdef"
	to = append(append(to, device...), '.')
	for shift := 60; shift >= 0; shift -= 4 {
		to = append(to, digits[epoch>>shift&15])
	}
	return strconv.AppendUint(append(to, '.'), seq, 10)
}

// Entry is one piece of alarm state, committed together with the events that
// changed it. A nil value deletes the key.
type Entry struct {
	Key   string
	Value []byte
}

// Producer is an idempotent producer's identity as Kafka gave it out.
type Producer struct {
	ID    int64
	Epoch int16
}

// Lane names where the next batch goes: one partition, one batch in flight.
type Lane struct {
	Topic      string
	Partition  int32
	Partitions int32 // of the topic now; a record goes to murmur2(Key) mod Partitions
	Producer   Producer
	Sequence   int32 // of the batch's first record
}

// Batch is what is sent at once: records of one partition, whose members and
// order never change once the batch is in flight. Read-only outside the Spool.
type Batch struct {
	Lane
	Records []Record
	Since   time.Time // when it first was in flight, by the wall clock then
	Boot    string    // boot id of the kernel then
	Ref     uint64    // the Spool's own
}

// Spool keeps records until they are delivered. Safe for concurrent use.
type Spool interface {
	// Append stores records, in order, and alarm state in one transaction. They
	// are on disk when it returns nil; none is when it returns an error.
	Append(ctx context.Context, records []Record, state []Entry) error
	// InFlight lists the batches that may be with the broker already, as an
	// earlier process left them: each is to be sent again as it stands before
	// anything else goes to its partition.
	InFlight(ctx context.Context) ([]Batch, error)
	// Next waits for records of the lane's partition, the gravest first, and
	// returns a batch of them whose in-flight record is on disk.
	Next(ctx context.Context, lane Lane) (Batch, error)
	// Done says that the broker has acknowledged the batch. It is deleted with
	// one of the next transactions.
	Done(b Batch) error
	// Rewrite changes the in-flight record on disk before the batch is sent
	// again: only its first keep records stay in it (the others are queued
	// again), under another producer or sequence if p differs; Since and Boot
	// start anew where the producer changes. repeated says that the records may
	// already be in the topic under the former producer. With keep 0 all are
	// queued again and nothing of the batch stays in flight.
	Rewrite(ctx context.Context, b Batch, keep int, p Producer, sequence int32, repeated bool) (Batch, error)
	// Bury moves the single record of a batch that Kafka will never take to the
	// bounded dead-letter bucket, with the reason.
	Bury(ctx context.Context, b Batch, why string) error
	Close() error
}

// Result says what became of a batch that was sent.
type Result uint8

// The results, each with what the Forwarder does about it.
const (
	Acknowledged Result = iota // stored: Done
	Again                      // unknown or passing: the same batch again, after a back-off
	Hold                       // refused until a person acts: the same batch again, back-off to 60 s, the cure said
	TooLarge                   // the first half alone; the single record is buried
	NewProducer                // the broker no longer knows the producer: the same members under a new id
)

// Outcome is a Result with its reasons, for people.
type Outcome struct {
	Result Result
	Err    error  // nil when acknowledged
	Cure   string // what a person can do; empty when nothing is needed
	// Unknown says that the broker may have stored the batch although it did not
	// say so.
	Unknown bool
}

// Error and Unwrap make an Outcome an error, for the calls of a Sink that have
// no batch: Partitions and Producer give their cure that way.
func (o Outcome) Error() string {
	if o.Cure == "" {
		return fmt.Sprint(o.Err)
	}
	return fmt.Sprintf("%v; %s", o.Err, o.Cure)
}

// Unwrap is Err.
func (o Outcome) Unwrap() error { return o.Err }

// Sink is where records go. Safe for concurrent use by one goroutine a lane.
// Every call returns soon after its context ends; an error of Partitions and
// Producer may be an Outcome, and one that wraps ErrMissing says that the topic
// or the partition does not exist.
type Sink interface {
	// Partitions asks the cluster, not a cache, how many the topic has.
	Partitions(ctx context.Context, topic string) (int32, error)
	// Producer asks the cluster for a fresh idempotent producer.
	Producer(ctx context.Context) (Producer, error)
	// Send sends the batch once and waits for every in-sync replica.
	Send(ctx context.Context, b Batch) Outcome
	Close() error
}
