package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

// tryKafka logs in to every broker that the configuration names and that those
// name in turn, and looks at the topics and the right to write.
func (s *site) tryKafka(ctx context.Context) []answer {
	all, known := tryBrokers(ctx, s.cfg, s.cfg.Kafka.Brokers)
	if known == nil {
		return all
	}
	var others []string
	for _, address := range known {
		if !slices.Contains(s.cfg.Kafka.Brokers, address) {
			others = append(others, address)
		}
	}
	more, _ := tryBrokers(ctx, s.cfg, others)
	for i := range more {
		if more[i].mark == wrong {
			more[i].cure = "the cluster names this address itself (advertised.listeners): the gateway must reach it. " + more[i].cure
		}
	}
	all = append(all, more...)
	return append(all, tryTopics(ctx, s.cfg, len(known))...)
}

// tryBrokers asks each for its picture of the cluster: connection, TLS, log-in
// and API versions, all at the same time. known is nil where none answered.
func tryBrokers(ctx context.Context, cfg *config.Config, addresses []string) (all []answer, known []string) {
	all = make([]answer, len(addresses))
	lists := make([][]string, len(addresses))
	done := make(chan struct{})
	for i, address := range addresses {
		go func() {
			all[i], lists[i] = tryBroker(ctx, cfg, address)
			done <- struct{}{}
		}()
	}
	for range addresses {
		<-done
	}
	for _, list := range lists {
		for _, address := range list {
			if !slices.Contains(known, address) {
				known = append(known, address)
			}
		}
	}
	return all, known
}

func tryBroker(ctx context.Context, cfg *config.Config, address string) (answer, []string) {
	one := *cfg
	one.Kafka.Brokers = []string{address}
	what := "kafka " + address
	sink, err := newSink(&one, clock.New())
	if err != nil {
		return failure(what, 0, err), nil
	}
	defer sink.Close() // only asked
	began := time.Now()
	known, err := sink.Addresses(ctx)
	if err != nil {
		return failure(what, time.Since(began), err), nil
	}
	return answer{mark: good, what: what, took: time.Since(began), said: fmt.Sprintf("answers, %s; the cluster has %s", security(cfg), plural(len(known), "broker"))}, known
}

// tryTopics looks at what tocsin topics check does, and at the right to write.
func tryTopics(ctx context.Context, cfg *config.Config, brokers int) (all []answer) {
	sink, err := newSink(cfg, clock.New())
	if err != nil {
		return []answer{failure("kafka", 0, err)}
	}
	defer sink.Close() // only asked
	for _, t := range liveTopics(cfg, min(usualCopies, brokers)) {
		what, began := "kafka topic "+t.Name, time.Now()
		found, err := sink.CheckTopics(ctx, t)
		took := time.Since(began)
		switch {
		case errors.Is(err, uplink.ErrMissing):
			a := answer{mark: odd, what: what, took: took, said: "there is no such topic: events are sent all the same", cure: "create it with: tocsin topics create " + cfg.Path}
			if t.Name == cfg.Kafka.Events {
				a.mark, a.said = wrong, "there is no such topic: events would stay in the buffer"
				a.cure += " (or correct [kafka] events)"
			}
			all = append(all, a)
		case err != nil:
			all = append(all, failure(what, took, err))
		case len(found) == 0:
			all = append(all, answer{mark: good, what: what, took: took, said: "is there and is right"})
		}
		for _, f := range found {
			all = append(all, answer{mark: odd, what: what, said: fmt.Sprintf("%s is %s, should be %s", f.Setting, f.Have, f.Want), cure: f.Cure})
		}
	}
	return append(all, tryWriting(ctx, sink, cfg))
}

// tryWriting asks for what every start of the agent asks for, a producer id:
// Kafka gives it to who may write to some topic.
func tryWriting(ctx context.Context, sink *kafka.Sink, cfg *config.Config) answer {
	what, began := "kafka rights of "+strings.TrimPrefix(sink.Principal(), "User:"), time.Now()
	_, err := sink.Producer(ctx)
	// A broker that nobody has written to since it started needs a moment.
	for end := began.Add(topicsAppear); passing(err) && time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(topicsAppear / 10)
		_, err = sink.Producer(ctx)
	}
	if err != nil {
		a := failure(what, time.Since(began), err)
		if forbidden(err) {
			a.cure = "for the cluster's administrator: " + strings.Join(kafka.ACLs(sink.Principal(), append(feedTopics(cfg), cfg.Kafka.Events, cfg.Kafka.Status)...), "\n          ")
		}
		return a
	}
	return answer{mark: good, what: what, took: time.Since(began), said: "may write"}
}

// passing reports whether a cluster says that another try may succeed.
func passing(err error) bool {
	var out uplink.Outcome
	return errors.As(err, &out) && out.Result == uplink.Again && out.Cure == ""
}

// liveTopics is the topics that this gateway writes to; how many partitions and
// how long a retention are somebody's decision.
func liveTopics(cfg *config.Config, copies int) []kafka.Topic {
	all := []kafka.Topic{kafka.Events(cfg.Kafka.Events, 0, copies, 0), kafka.Status(cfg.Kafka.Status, 0, copies)}
	for _, name := range feedTopics(cfg) {
		all = append(all, kafka.Events(name, 0, copies, 0))
	}
	return all
}
