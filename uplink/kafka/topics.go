package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	kafkago "github.com/segmentio/kafka-go"
)

// Topic is what a topic should be.
type Topic struct {
	Name        string
	Partitions  int // at creation; a topic may have more later, never fewer
	Replication int // copies of each partition; 1 only where there is one broker
	Compact     bool
	Retention   time.Duration // of a topic that is not compacted; 0: the cluster's default
}

// Events is the topic for events: kept for a time and stamped by the broker, so
// that a gateway with a wrong clock neither loses events nor repeats them.
func Events(name string, partitions, replication int, retention time.Duration) Topic {
	return Topic{Name: name, Partitions: partitions, Replication: replication, Retention: retention}
}

// Status is the topic for gateways' status: the latest of each is kept.
func Status(name string, partitions, replication int) Topic {
	return Topic{Name: name, Partitions: partitions, Replication: replication, Compact: true}
}

// The settings of a topic that matter here (Kafka documentation, "Topic
// Configs"), and the least that tocsin wants of them.
const (
	cleanup      = "cleanup.policy"
	stampType    = "message.timestamp.type"
	minInSync    = "min.insync.replicas"
	maxBytes     = "max.message.bytes"
	retentionMs  = "retention.ms"
	leastBytes   = 1 << 20         // a batch is never larger before compression
	leastKept    = 24 * time.Hour  // a consumer may be down for a day
	leastCopies  = 3               // one may fail while another is being replaced
	leastPresent = leastCopies - 1 // of which so many must have a record
)

func (t Topic) settings() []kafkago.ConfigEntry {
	policy := "delete"
	if t.Compact {
		policy = "compact"
	}
	s := []kafkago.ConfigEntry{
		{ConfigName: cleanup, ConfigValue: policy},
		{ConfigName: stampType, ConfigValue: "LogAppendTime"},
		{ConfigName: minInSync, ConfigValue: strconv.Itoa(max(1, min(leastPresent, t.Replication-1)))},
	}
	if t.Retention > 0 && !t.Compact {
		s = append(s, kafkago.ConfigEntry{ConfigName: retentionMs, ConfigValue: strconv.FormatInt(t.Retention.Milliseconds(), 10)})
	}
	return s
}

// CreateTopics creates the topics. Its errors, joined where there are several,
// are uplink.Outcomes; for a topic that exists, kafka-go's TopicAlreadyExists.
func (s *Sink) CreateTopics(ctx context.Context, topics ...Topic) error {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	use := s.useAll(topics)
	defer s.cluster.done(use)
	request := &kafkago.CreateTopicsRequest{}
	for _, t := range topics {
		request.Topics = append(request.Topics, kafkago.TopicConfig{
			Topic: t.Name, NumPartitions: t.Partitions, ReplicationFactor: t.Replication, ConfigEntries: t.settings(),
		})
	}
	got, err := use.client.CreateTopics(ctx, request)
	if err != nil {
		return s.outcome(use, "", fmt.Errorf("create topics: %w", bare(err)))
	}
	var failed []error
	for _, t := range topics {
		if err := got.Errors[t.Name]; err != nil {
			failed = append(failed, s.outcome(use, t.Name, fmt.Errorf("create topic %q: %w", t.Name, err)))
		}
	}
	return errors.Join(failed...)
}

// useAll is a session that keeps the layout of all the topics.
func (s *Sink) useAll(topics []Topic) *session {
	for _, t := range topics {
		s.cluster.done(s.cluster.use(t.Name))
	}
	return s.cluster.use("")
}

// Brokers asks how many brokers the cluster has now. Its error is an
// uplink.Outcome.
func (s *Sink) Brokers(ctx context.Context) (int, error) {
	all, err := s.Addresses(ctx)
	return len(all), err
}

// Addresses asks which brokers the cluster has now: host:port, as each says of
// itself that it is reached. Its error is an uplink.Outcome.
func (s *Sink) Addresses(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	use := s.cluster.use(s.o.Topic)
	defer s.cluster.done(use)
	got, err := use.client.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{s.o.Topic}})
	if err != nil {
		return nil, s.outcome(use, s.o.Topic, fmt.Errorf("ask for the brokers: %w", bare(err)))
	}
	all := make([]string, 0, len(got.Brokers))
	for _, b := range got.Brokers {
		all = append(all, net.JoinHostPort(b.Host, strconv.Itoa(b.Port)))
	}
	return all, nil
}

// Finding is a setting of a topic that is not as it should be.
type Finding struct {
	Topic, Setting string
	Have, Want     string
	Cure           string // why, and the command
}

// CheckTopics compares the topics with what they should be. Its error, for a
// topic that could not be read, is an uplink.Outcome.
func (s *Sink) CheckTopics(ctx context.Context, topics ...Topic) ([]Finding, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*s.o.Timeout)
	defer cancel()
	use := s.useAll(topics)
	defer s.cluster.done(use)
	var found []Finding
	for _, t := range topics {
		layout, err := use.layout(ctx, t.Name)
		if err != nil {
			return found, s.outcome(use, t.Name, fmt.Errorf("read topic %q: %w", t.Name, bare(err)))
		}
		have, err := use.settings(ctx, t.Name)
		if err != nil {
			return found, s.outcome(use, t.Name, fmt.Errorf("read the settings of topic %q: %w", t.Name, bare(err)))
		}
		copies := 0
		if len(layout.Partitions) > 0 {
			copies = len(layout.Partitions[0].Replicas)
		}
		found = append(found, t.compare(len(layout.Partitions), copies, have)...)
	}
	return found, nil
}

// settings reads a topic's settings by name.
func (s *session) settings(ctx context.Context, topic string) (map[string]string, error) {
	got, err := s.client.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{
		Resources: []kafkago.DescribeConfigRequestResource{{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic,
			ConfigNames: []string{cleanup, stampType, minInSync, maxBytes, retentionMs},
		}},
	})
	if err != nil {
		return nil, err
	}
	have := map[string]string{}
	for _, r := range got.Resources {
		if r.Error != nil {
			return nil, r.Error
		}
		for _, e := range r.ConfigEntries {
			have[e.ConfigName] = e.ConfigValue
		}
	}
	return have, nil
}

// compare lists what differs. A setting that the cluster does not tell is not
// judged.
func (t Topic) compare(partitions, copies int, have map[string]string) []Finding {
	var found []Finding
	add := func(setting, has, want, cure string) {
		found = append(found, Finding{t.Name, setting, has, want, cure})
	}
	set := func(setting, value, why string) {
		cure := fmt.Sprintf("%s: kafka-configs.sh --bootstrap-server HOST:PORT --alter --topic %s --add-config %s=%s", why, t.Name, setting, value)
		add(setting, have[setting], value, cure)
	}
	number := func(setting string) (int64, bool) {
		n, err := strconv.ParseInt(have[setting], 10, 64)
		return n, err == nil
	}
	if t.Partitions > 0 && partitions < t.Partitions {
		add("partitions", strconv.Itoa(partitions), strconv.Itoa(t.Partitions), fmt.Sprintf(
			"fewer gateways can write at a time: kafka-topics.sh --bootstrap-server HOST:PORT --alter --topic %s --partitions %d", t.Name, t.Partitions))
	}
	if want := max(t.Replication, 1); copies < want {
		add("replicas", strconv.Itoa(copies), strconv.Itoa(want), "a broker's disk may take acknowledged events with it: kafka-reassign-partitions.sh, or create the topic anew")
	}
	for _, e := range t.settings() {
		has, told := have[e.ConfigName]
		switch {
		case !told || e.ConfigName == retentionMs || e.ConfigName == minInSync:
		case e.ConfigName == cleanup && has != e.ConfigValue:
			set(cleanup, e.ConfigValue, map[bool]string{true: "old status is kept for ever or lost", false: "compaction removes events, and refuses those without a key"}[t.Compact])
		case e.ConfigName == stampType && has != e.ConfigValue:
			set(stampType, e.ConfigValue, "a gateway whose clock is wrong has its events refused, deleted early or stored twice")
		}
	}
	if n, ok := number(minInSync); ok && copies >= leastCopies && n < leastPresent {
		set(minInSync, strconv.Itoa(leastPresent), "an acknowledged event may be on one broker only")
	} else if ok && copies > 1 && n >= int64(copies) {
		set(minInSync, strconv.Itoa(copies-1), "one broker that is down holds up every event")
	}
	if n, ok := number(maxBytes); ok && n < leastBytes {
		set(maxBytes, strconv.Itoa(leastBytes), "batches are refused and must be sent in pieces")
	}
	if n, ok := number(retentionMs); ok && !t.Compact && n >= 0 && n < leastKept.Milliseconds() {
		set(retentionMs, strconv.FormatInt(leastKept.Milliseconds(), 10), "events may be gone before they are read")
	}
	return found
}

// Principal is who the cluster takes this gateway for, as far as the options
// tell: the user that logs in, else the subject of the TLS certificate.
func (s *Sink) Principal() string {
	if s.o.SASL != nil {
		return "User:" + s.o.SASL.Username
	}
	if s.o.TLS != nil {
		if leaf := clientCertificate(s.o.TLS(s.o.Brokers[0])); leaf != nil {
			return "User:" + leaf.Subject.String()
		}
	}
	return "User:ANONYMOUS"
}

// clientCertificate is the certificate that c shows a server; nil if none.
func clientCertificate(c *tls.Config) *x509.Certificate {
	own := &tls.Certificate{}
	if c.GetClientCertificate != nil {
		if got, err := c.GetClientCertificate(&tls.CertificateRequestInfo{}); err == nil {
			own = got
		}
	} else if len(c.Certificates) > 0 {
		own = &c.Certificates[0]
	}
	if len(own.Certificate) == 0 {
		return nil
	}
	leaf, err := x509.ParseCertificate(own.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

// ACLs lists the rights that a gateway needs, as commands for the cluster's
// administrator. IdempotentWrite is implied by Write since Kafka 2.8.
func ACLs(principal string, topics ...string) []string {
	lines := make([]string, 0, len(topics)+1)
	for _, t := range topics {
		lines = append(lines, acl(principal, "--topic "+t, "Describe", "DescribeConfigs", "Write"))
	}
	return append(lines, acl(principal, "--cluster", "IdempotentWrite")+" # only before Kafka 2.8")
}

// acl is the command that gives one right.
func acl(principal, resource string, operations ...string) string {
	return fmt.Sprintf("kafka-acls.sh --bootstrap-server HOST:PORT --add --allow-principal '%s' --operation %s %s",
		principal, strings.Join(operations, " --operation "), resource)
}
