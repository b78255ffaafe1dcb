package kafka

import (
	"context"
	"fmt"

	"tocsin/uplink"
)

var _ uplink.Publisher = (*Sink)(nil)

// Publish sends the messages once, those of a partition together and in order.
// It tries every partition, and returns the first of its errors, each an
// uplink.Outcome. Without a key a message goes to the partition of the empty one.
func (s *Sink) Publish(ctx context.Context, topic string, messages []uplink.Message) error {
	if len(messages) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	use := s.cluster.use(topic)
	defer s.cluster.done(use)
	layout, err := use.layout(ctx, topic)
	if err != nil {
		return s.outcome(use, topic, fmt.Errorf("send %d messages to %s: %w", len(messages), topic, bare(err)))
	}
	var failed error
	for partition, part := range split(messages, int32(len(layout.Partitions))) {
		for len(part) > 0 && ctx.Err() == nil {
			n := fits(part)
			if out := s.publish(ctx, use, topic, partition, part[:n]); out.Result != uplink.Acknowledged && failed == nil {
				failed = out
			}
			part = part[n:]
		}
	}
	if failed == nil && ctx.Err() != nil {
		failed = s.outcome(use, topic, fmt.Errorf("send %d messages to %s: %w", len(messages), topic, ctx.Err()))
	}
	return failed
}

// publish sends messages of one partition in one batch.
func (s *Sink) publish(ctx context.Context, use *session, topic string, partition int, messages []uplink.Message) uplink.Outcome {
	what := fmt.Sprintf("%d messages to %s/%d", len(messages), topic, partition)
	buffer := s.buffers.Get().(*[]byte)
	err := s.encoded(buffer, func(to []byte, timestamp int64) ([]byte, error) {
		return s.encoder.seal(to, s.codec, nobody, len(messages), timestamp, func(to []byte) []byte {
			return s.encoder.appendMessages(to, messages)
		})
	})
	if err != nil {
		return uplink.Outcome{Result: uplink.Hold, Err: fmt.Errorf("encode %s: %w", what, err), Cure: codecCure}
	}
	return s.produce(ctx, use, topic, partition, buffer, what)
}

// split sorts the messages by partition, as murmur2 of the key has it, and keeps
// their order within it.
func split(messages []uplink.Message, partitions int32) [][]uplink.Message {
	parts := make([][]uplink.Message, max(partitions, 1))
	if len(parts) == 1 {
		parts[0] = messages
		return parts
	}
	for _, m := range messages {
		p := uplink.Partition(string(m.Key), partitions)
		parts[p] = append(parts[p], m)
	}
	return parts
}

// fits is how many of the messages, at least one, make a batch that every topic
// takes.
func fits(messages []uplink.Message) int {
	const headers = 300 // bytes of one message, about, beside its value
	size := 0
	for i := range messages {
		size += len(messages[i].Key) + len(messages[i].Value) + headers
		if size > leastBytes && i > 0 {
			return i
		}
	}
	return len(messages)
}
