package street

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// partitions of the events' topic.
const partitions = 3

// event is a record of the topic as a consumer sees it, whose library is not
// the agent's.
type event struct {
	id        string // ce_id
	kind      string // ce_type
	key       string
	partition int32
	offset    int64
	time      time.Time // ce_time
	stored    time.Time // when the broker appended it
	body      body
}

type body struct {
	AlarmID  string  `json:"alarm_id"`
	State    string  `json:"state"`
	Severity string  `json:"severity"`
	Machine  string  `json:"machine"`
	Channel  string  `json:"channel"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`

	Time  time.Time `json:"time"`
	Since time.Time `json:"since"`
	Clock string    `json:"clock"`
}

// topic follows one Kafka topic from its beginning.
type topic struct {
	name   string
	client *kgo.Client

	mu     sync.Mutex
	events []event
	bad    []error   // records that are no event
	read   time.Time // when a record last came
}

// newTopic makes the topic, stamped by the broker, and reads it until the test
// has ended.
func newTopic(t *testing.T, brokers, name string) *topic {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.MetadataMinAge(100*time.Millisecond), kgo.UnknownTopicRetries(-1))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := createTopic(ctx, client, name); err != nil {
		t.Fatalf("make topic %s at %s: %v", name, brokers, err)
	}
	tp := &topic{name: name, client: client, read: time.Now()}
	var running sync.WaitGroup
	running.Go(func() { tp.follow(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		client.Close()
	})
	return tp
}

func createTopic(ctx context.Context, client *kgo.Client, name string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, row, stamp := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic(), kmsg.NewCreateTopicsRequestTopicConfig()
	stamp.Name, stamp.Value = "message.timestamp.type", kmsg.StringPtr("LogAppendTime")
	row.Topic, row.NumPartitions, row.ReplicationFactor = name, partitions, 1
	row.Configs = append(row.Configs, stamp)
	req.Topics = append(req.Topics, row)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.Topics[0].ErrorCode)
}

func (tp *topic) follow(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := tp.client.PollFetches(ctx)
		tp.mu.Lock()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				tp.read = time.Now()
				e, err := parse(r)
				if err != nil {
					tp.bad = append(tp.bad, fmt.Errorf("partition %d offset %d: %w", r.Partition, r.Offset, err))
					continue
				}
				tp.events = append(tp.events, e)
			}
		})
		tp.mu.Unlock()
	}
}

func parse(r *kgo.Record) (event, error) {
	e := event{key: string(r.Key), partition: r.Partition, offset: r.Offset, stored: r.Timestamp}
	for _, h := range r.Headers {
		switch h.Key {
		case "ce_id":
			e.id = string(h.Value)
		case "ce_type":
			e.kind = string(h.Value)
		case "ce_time":
			at, err := time.Parse(time.RFC3339Nano, string(h.Value))
			if err != nil {
				return e, err
			}
			e.time = at
		}
	}
	if e.id == "" || e.kind == "" || e.time.IsZero() {
		return e, fmt.Errorf("ce_id %q, ce_type %q, ce_time %v: one is missing", e.id, e.kind, e.time)
	}
	return e, json.Unmarshal(r.Value, &e.body)
}

// all copies the events that came so far, without the canary's.
func (tp *topic) all() []event {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	var list []event
	for _, e := range tp.events {
		if e.body.Machine != "canary" {
			list = append(list, e)
		}
	}
	return list
}

// woken reports whether any event has come.
func (tp *topic) woken() bool {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	return len(tp.events) > 0
}

// quiet waits until everything in the topic has been read: nothing came for the
// given time.
func (tp *topic) quiet(d time.Duration) {
	for {
		tp.mu.Lock()
		left := d - time.Since(tp.read)
		tp.mu.Unlock()
		if left <= 0 {
			return
		}
		time.Sleep(left)
	}
}
