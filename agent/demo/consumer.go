package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

// event is what a consumer reads from the topic: the CloudEvents headers it
// needs and the body's fields that it shows.
type event struct {
	ID       string // ce_id
	Type     string // ce_type
	Key      string
	Received time.Time

	AlarmID  string    `json:"alarm_id"`
	State    string    `json:"state"`
	Class    string    `json:"class"`
	Severity string    `json:"severity"`
	Machine  string    `json:"machine"`
	Channel  string    `json:"channel"`
	Message  string    `json:"message"`
	Detector string    `json:"detector"`
	Time     time.Time `json:"time"`
	Since    time.Time `json:"since"`
	Seq      uint64    `json:"seq"`
}

// ledger is what the consumer has seen.
type ledger struct {
	mu     sync.Mutex
	ids    map[string]int
	events []event
}

func (l *ledger) add(e event) (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[e.ID]++
	l.events = append(l.events, e)
	return l.ids[e.ID] == 1
}

func (l *ledger) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

func (l *ledger) all() []event {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]event(nil), l.events...)
}

// found is the latency of every event that tells of a finding, from the reading
// to here.
func (l *ledger) found() (took []time.Duration) {
	for _, e := range l.all() {
		if e.State != "cleared" {
			took = append(took, e.Received.Sub(e.Time))
		}
	}
	return took
}

// missing is how many sequences between the first and the last were never seen.
// The agent numbers its events without gaps.
func (l *ledger) missing() int {
	seen := map[uint64]bool{}
	last := uint64(0)
	for _, e := range l.all() {
		seen[e.Seq] = true
		last = max(last, e.Seq)
	}
	return int(last) - len(seen)
}

// duplicates is how many records were in the topic more than once.
func (l *ledger) duplicates() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, times := range l.ids {
		n += times - 1
	}
	return n
}

// consume reads one partition from its start until ctx ends, as any consumer
// would, and goes on where it was after an outage.
func (l *ledger) consume(ctx context.Context, address string, partition int, show func(event)) {
	var offset int64
	for ctx.Err() == nil {
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: eventsTopic, Partition: partition,
			MaxWait: 50 * time.Millisecond, MinBytes: 1, MaxBytes: 4 << 20, ReadBackoffMin: 10 * time.Millisecond, ReadBackoffMax: 200 * time.Millisecond})
		_ = r.SetOffset(offset) // the reader is new: it has no group
		for {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				break
			}
			offset = m.Offset + 1
			e, err := parse(m)
			if err != nil {
				fmt.Println("a record that is not an event:", err)
				continue
			}
			if l.add(e) {
				show(e)
			}
		}
		_ = r.Close() // only read from
	}
}

func parse(m kafka.Message) (event, error) {
	e := event{Key: string(m.Key), Received: time.Now()}
	if err := json.Unmarshal(m.Value, &e); err != nil {
		return e, fmt.Errorf("offset %d: %w", m.Offset, err)
	}
	for _, h := range m.Headers {
		switch h.Key {
		case "ce_id":
			e.ID = string(h.Value)
		case "ce_type":
			e.Type = string(h.Value)
		}
	}
	return e, nil
}
