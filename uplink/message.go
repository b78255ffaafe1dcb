package uplink

import "context"

// Message is what is sent best effort beside the events: a status, scores,
// aggregated readings. Nothing keeps it when Kafka is away.
type Message struct {
	Key, Value []byte
	Type       string // ce_type: "tocsin.status.v1"; empty: no CloudEvents headers at all
	Source     string // ce_source
	ID         string // ce_id
	Time       int64  // ce_time, nanoseconds since 1970 UTC
}

// Publisher sends messages. Safe for concurrent use.
type Publisher interface {
	// Publish sends the messages, each to the partition of its key, and waits
	// until every in-sync replica has them. An error, which may be an Outcome,
	// says that some of them may not be in the topic; nothing is tried again.
	Publish(ctx context.Context, topic string, messages []Message) error
}
