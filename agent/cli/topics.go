package cli

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	kafkago "github.com/segmentio/kafka-go"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/agent/health"
	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

// topics makes or checks the Kafka topics that the agent writes to.
func topics(c *call) error {
	file := c.configFlag()
	partitions := c.flags.Int("partitions", 6, "`N` partitions of the events topic, and of those for scores and samples")
	replicas := c.flags.Int("replicas", 0, "`N` copies of every partition; default: 3, or as many as there are brokers")
	keep := c.flags.Duration("retention", 7*24*time.Hour, "create: how long events are kept")
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	if len(words) == 0 || words[0] != "create" && words[0] != "check" {
		return fmt.Errorf("say what to do: create or check: %w", errUsage)
	}
	if *partitions < 1 || *replicas < 0 {
		return fmt.Errorf("--partitions %d --replicas %d: at least 1 partition, and no negative number: %w", *partitions, *replicas, errUsage)
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return err
	}
	sink, err := newSink(cfg, clock.New())
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	copies, err := copiesOr(ctx, sink, *replicas)
	wanted := []kafka.Topic{kafka.Events(cfg.Kafka.Events, *partitions, copies, *keep), kafka.Status(cfg.Kafka.Status, 1, copies)}
	for _, name := range feedTopics(cfg) {
		wanted = append(wanted, kafka.Events(name, *partitions, copies, *keep))
	}
	switch {
	case err != nil:
	case words[0] == "create":
		err = c.createTopics(ctx, sink, wanted)
	default:
		err = c.checkTopics(ctx, sink, wanted, kafka.ClaimACLs(sink.Principal(), health.Group(cfg.Site.Device), cfg.Kafka.Status))
	}
	return errors.Join(err, sink.Close())
}

// usualCopies lets one broker fail while another is being replaced.
const usualCopies = 3

// copiesOr is how many copies were asked for, or as many as are usual and there
// are brokers for.
func copiesOr(ctx context.Context, sink *kafka.Sink, asked int) (int, error) {
	if asked > 0 {
		return asked, nil
	}
	brokers, err := sink.Brokers(ctx)
	return min(usualCopies, max(brokers, 1)), err
}

func (c *call) createTopics(ctx context.Context, sink *kafka.Sink, wanted []kafka.Topic) error {
	p := &printer{to: c.Out}
	for _, t := range wanted {
		err := sink.CreateTopics(ctx, t)
		switch {
		case errors.Is(err, kafkago.TopicAlreadyExists):
			p.line("%s is there already; tocsin topics check says whether it is right", t.Name)
		case err != nil:
			return err
		default:
			p.line("%s made", t.Name)
		}
	}
	return p.err
}

// topicsAppear is how long a topic may be missing after it was made.
const topicsAppear = 3 * time.Second

// forbidden reports whether it is for want of rights that Kafka refused.
func forbidden(err error) bool {
	return errors.Is(err, kafkago.TopicAuthorizationFailed) || errors.Is(err, kafkago.ClusterAuthorizationFailed)
}

// checkTopics says what differs and what to ask the cluster's administrator for;
// of the rights to notice another gateway of the same name, that they may be left
// out.
func (c *call) checkTopics(ctx context.Context, sink *kafka.Sink, wanted []kafka.Topic, notice []string) error {
	p := &printer{to: c.Out}
	found, err := sink.CheckTopics(ctx, wanted...)
	// Brokers learn of a new topic one after the other.
	for end := time.Now().Add(topicsAppear); errors.Is(err, uplink.ErrMissing) && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(topicsAppear / 10)
		found, err = sink.CheckTopics(ctx, wanted...)
	}
	names := make([]string, 0, len(wanted))
	for _, t := range wanted {
		names = append(names, t.Name)
	}
	for _, f := range found {
		p.line("%s: %s is %s, should be %s\n  %s", f.Topic, f.Setting, f.Have, f.Want, f.Cure)
	}
	if err == nil || forbidden(err) {
		p.line("rights that this gateway needs, for the cluster's administrator:")
		for _, acl := range kafka.ACLs(sink.Principal(), names...) {
			p.line("  %s", acl)
		}
		p.line("and, if another gateway with this device's name is to be noticed:")
		for _, acl := range notice {
			p.line("  %s", acl)
		}
	}
	if err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%d settings are not as they should be", len(found))
	}
	p.line("the topics are right")
	return p.err
}
