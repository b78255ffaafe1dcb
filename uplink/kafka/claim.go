package kafka

import (
	"context"
	"errors"
	"fmt"

	kafkago "github.com/segmentio/kafka-go"
)

// Claim leaves a note in Kafka, at most 4 KiB, and returns the one that was
// there: who else leaves notes under the same name is noticed by both. It costs
// four small requests and reads no record: the note is the metadata of an offset
// that the consumer group commits on the topic's first partition, as a simple
// consumer that is no member of it (Kafka protocol guide, OffsetFetch and
// OffsetCommit; generation −1). The rights that it takes are in ClaimACLs; the
// error is an uplink.Outcome. Nothing is left where the note before could not be
// read.
func (s *Sink) Claim(ctx context.Context, group, topic, note string) (former string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	use := s.cluster.use(topic)
	defer s.cluster.done(use)
	former, err = use.note(ctx, group, topic)
	if err != nil && !errors.Is(err, kafkago.GroupIdNotFound) { // or it is the first note
		return "", s.outcome(use, topic, fmt.Errorf("look who else uses group %q: %w", group, bare(err)))
	}
	put, err := use.client.OffsetCommit(ctx, &kafkago.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{topic: {{Partition: 0, Metadata: note}}},
	})
	if err == nil {
		for _, p := range put.Topics[topic] {
			err = p.Error
		}
	}
	if err != nil {
		return former, s.outcome(use, topic, fmt.Errorf("leave a note in group %q: %w", group, bare(err)))
	}
	return former, nil
}

// note reads what was left last.
func (s *session) note(ctx context.Context, group, topic string) (note string, err error) {
	got, err := s.client.OffsetFetch(ctx, &kafkago.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{topic: {0}}})
	if err != nil {
		return "", err
	}
	if got.Error != nil {
		return "", got.Error
	}
	for _, p := range got.Topics[topic] {
		note, err = p.Metadata, p.Error
	}
	return note, err
}

// ClaimACLs lists the rights that Claim takes, as commands for the cluster's
// administrator. A gateway works without them.
func ClaimACLs(principal, group, topic string) []string {
	return []string{
		acl(principal, "--group "+group, "Read"),
		acl(principal, "--topic "+topic, "Read"),
	}
}
