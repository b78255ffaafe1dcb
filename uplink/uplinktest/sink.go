// Package uplinktest holds the contract suites of the uplink's interfaces: Spool
// for what keeps events, Sink for what takes them.
package uplinktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tocsin/detectors"
	"tocsin/uplink"
)

// Cluster is a Kafka to test a Sink against, embedded or real. Where a field is
// nil or zero the tests that need it are skipped, with a line that says so.
type Cluster struct {
	// Topic creates a topic with these settings and returns its name.
	Topic func(t *testing.T, partitions int32, settings map[string]string) string
	// Grow gives the topic more partitions.
	Grow func(t *testing.T, topic string, partitions int32)
	// Read reads the whole topic, by another library than the Sink's.
	Read func(t *testing.T, topic string) []Message

	Sinks   map[string]Connect // ways in that must work: codecs, security
	Refused map[string]Connect // ways in that must hold until a person acts

	Down, Up func(t *testing.T) // take the cluster away, bring it back with its data
	Limits   bool               // the cluster enforces max.message.bytes and timestamps
	Forgets  time.Duration      // within this it forgets a producer that fell silent
}

// Connect makes a Sink for the topic. The Sink asks now for the time.
type Connect func(t *testing.T, topic string, now func() (time.Time, bool)) uplink.Sink

// Message is a record as a consumer sees it.
type Message struct {
	Partition int32
	Offset    int64
	Key       string
	Value     string
	Headers   map[string]string
	Time      time.Time
}

// partitions and machines are what every test of a topic uses: keys that share
// a partition and partitions that share a broker.
const (
	partitions = 3
	machines   = 5
	patience   = 60 * time.Second
)

// Sink holds an uplink.Sink to its contract.
func Sink(t *testing.T, c Cluster) {
	for name, connect := range c.Sinks {
		t.Run("delivers/"+name, func(t *testing.T) { delivers(t, c, connect) })
	}
	for name, connect := range c.Refused {
		t.Run("holds/"+name, func(t *testing.T) { refuses(t, c, connect) })
	}
	for _, part := range []struct {
		name string
		test func(*testing.T, Cluster, Connect)
	}{
		{"stores a batch sent again once", storesOnce},
		{"asks for a producer at a gap", seesGap},
		{"holds for a missing topic", missesTopic},
		{"sees more partitions", seesGrowth},
		{"says too large", saysTooLarge},
		{"holds for a wrong clock", seesClock},
		{"outlives the broker", outlives},
		{"is forgotten", isForgotten},
		{"ends with its context", endsInTime},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, c, anyOf(c.Sinks)) })
	}
}

func anyOf(sinks map[string]Connect) Connect {
	for _, connect := range sinks {
		return connect
	}
	return nil
}

func wallClock() (time.Time, bool) { return time.Now(), true }

// Events makes n events of one partition of three, of the five machines' those
// that hash there.
func Events(epoch uint64, partition int32, n int) []uplink.Record {
	var records []uplink.Record
	for i := 0; len(records) < n; i++ {
		key := fmt.Sprintf("acme/north/press-shop/line1/press%d", i%machines+1) // every partition has one
		if uplink.Partition(key, partitions) != partition {
			continue
		}
		seq := uint64(i + 1)
		records = append(records, uplink.Record{
			Epoch: epoch, Seq: seq, Alarm: seq, State: uplink.Raised, Severity: detectors.High,
			Time: 1_700_000_000_123_456_789 + int64(i), Device: "gw-7",
			Source: "/acme/plant/hall/line/gw-7", Type: "tocsin.alarm.raised.v1",
			Subject: "machine.vibration é", Key: key, Body: fmt.Appendf(nil, `{"seq":%d,"text":"ünïcode"}`, seq),
		})
	}
	return records
}

// batch makes a batch of n events under a fresh producer.
func batch(t *testing.T, s uplink.Sink, topic string, partition int32, n int) uplink.Batch {
	t.Helper()
	return uplink.Batch{
		Lane: uplink.Lane{
			Topic: topic, Partition: partition, Partitions: partitions, Producer: producer(t, s),
		},
		Records: Events(7, partition, n),
	}
}

// producer asks until a fresh cluster gives one.
func producer(t *testing.T, s uplink.Sink) uplink.Producer {
	t.Helper()
	var p uplink.Producer
	eventually(t, func(ctx context.Context) (err error) {
		p, err = s.Producer(ctx)
		return err
	})
	return p
}

func eventually(t *testing.T, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// send sends until the outcome is not Again, as the Forwarder does.
func send(t *testing.T, s uplink.Sink, b uplink.Batch) uplink.Outcome {
	t.Helper()
	var out uplink.Outcome
	eventually(t, func(ctx context.Context) error {
		if out = s.Send(ctx, b); out.Result == uplink.Again {
			return out
		}
		return nil
	})
	return out
}

func want(t *testing.T, out uplink.Outcome, result uplink.Result, cure string) {
	t.Helper()
	if out.Result != result || !strings.Contains(out.Cure, cure) || result == uplink.Hold && out.Cure == "" {
		t.Fatalf("got result %d, error %v, cure %q; want result %d and a cure with %q", out.Result, out.Err, out.Cure, result, cure)
	}
}

// delivers: every event arrives once, in its partition, in order, as the
// CloudEvent that it is.
func delivers(t *testing.T, c Cluster, connect Connect) {
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	eventually(t, func(ctx context.Context) error {
		n, err := s.Partitions(ctx, topic)
		if err == nil && n != partitions {
			err = fmt.Errorf("%d partitions, want %d", n, partitions)
		}
		return err
	})
	begun := time.Now().Add(-time.Minute)
	sent := map[int32][]uplink.Record{}
	for p := range int32(partitions) {
		b := batch(t, s, topic, p, 20)
		for _, n := range []int{1, 19} {
			part := b
			part.Records = b.Records[:n]
			want(t, send(t, s, part), uplink.Acknowledged, "")
			b.Records = b.Records[len(part.Records):]
			b.Sequence += int32(len(part.Records))
			sent[p] = append(sent[p], part.Records...)
		}
	}
	got := map[int32][]Message{}
	for _, m := range c.Read(t, topic) {
		if m.Time.Before(begun) || m.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("stamped %v, not with the time of sending", m.Time)
		}
		m.Time = time.Time{}
		got[m.Partition] = append(got[m.Partition], m)
	}
	expected := map[int32][]Message{}
	for p, records := range sent {
		for i, r := range records {
			expected[p] = append(expected[p], message(p, int64(i), r))
		}
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Error("a consumer sees other events than were sent (-sent +seen):\n", diff)
	}
}

// message is the record as a consumer must see it (CloudEvents Kafka protocol
// binding 1.0.2, binary content mode).
func message(partition int32, offset int64, r uplink.Record) Message {
	return Message{
		Partition: partition, Offset: offset, Key: r.Key, Value: string(r.Body),
		Headers: map[string]string{
			"ce_specversion": "1.0",
			"ce_id":          r.ID(),
			"ce_source":      r.Source,
			"ce_type":        r.Type,
			"ce_time":        time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano),
			"ce_subject":     r.Subject,
			"content-type":   "application/json",
		},
	}
}

// refuses: what only a person can mend is held, with a cure, by every call.
func refuses(t *testing.T, c Cluster, connect Connect) {
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	b := uplink.Batch{Lane: uplink.Lane{Topic: topic, Partitions: partitions, Producer: uplink.Producer{ID: 1}}, Records: Events(7, 0, 1)}
	for _, call := range []func() error{
		func() error { return s.Send(t.Context(), b) },
		func() error { _, err := s.Partitions(t.Context(), topic); return err },
		func() error { _, err := s.Producer(t.Context()); return err },
	} {
		err := call()
		var out uplink.Outcome
		if !errors.As(err, &out) {
			t.Fatalf("got the error %v, want an Outcome", err)
		}
		want(t, out, uplink.Hold, "")
		if out.Unknown {
			t.Errorf("says that %v may have stored the batch", out.Err)
		}
	}
}

// storesOnce: the same batch again is acknowledged again and stored once, also
// by another Sink, as after a restart.
func storesOnce(t *testing.T, c Cluster, connect Connect) {
	topic := c.Topic(t, partitions, nil)
	b := batch(t, connect(t, topic, wallClock), topic, 1, 10)
	for range 3 {
		want(t, send(t, connect(t, topic, wallClock), b), uplink.Acknowledged, "")
	}
	if got := c.Read(t, topic); len(got) != len(b.Records) {
		t.Errorf("%d events are stored, want %d", len(got), len(b.Records))
	}
}

// seesGap: a sequence that does not follow asks for a new producer, which works.
func seesGap(t *testing.T, c Cluster, connect Connect) {
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	b := batch(t, s, topic, 1, 10)
	want(t, send(t, s, b), uplink.Acknowledged, "")
	b.Sequence += 100
	want(t, send(t, s, b), uplink.NewProducer, "")
	b.Producer, b.Sequence = producer(t, s), 0
	want(t, send(t, s, b), uplink.Acknowledged, "")
	if got := c.Read(t, topic); len(got) != 2*len(b.Records) {
		t.Errorf("%d events are stored, want %d", len(got), 2*len(b.Records))
	}
}

// missesTopic: a topic that is not there holds and names the cure; one that
// appears is found without a restart.
func missesTopic(t *testing.T, c Cluster, connect Connect) {
	there := c.Topic(t, partitions, nil)
	missing := there + "-missing"
	s := connect(t, missing, wallClock)
	b := batch(t, s, missing, 0, 1)
	want(t, send(t, s, b), uplink.Hold, "topics create")
	_, err := s.Partitions(t.Context(), missing)
	var out uplink.Outcome
	if !errors.As(err, &out) || out.Result != uplink.Hold || !errors.Is(err, uplink.ErrMissing) {
		t.Errorf("Partitions says %v, want an Outcome that holds", err)
	}
	b.Topic, b.Partition = there, partitions
	want(t, send(t, s, b), uplink.Hold, "")
	b.Partition = 0
	want(t, send(t, s, b), uplink.Acknowledged, "")
}

// seesGrowth: new partitions are told of and can be sent to at once.
func seesGrowth(t *testing.T, c Cluster, connect Connect) {
	if c.Grow == nil {
		t.Skip("this cluster's topics cannot grow")
	}
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	want(t, send(t, s, batch(t, s, topic, 0, 1)), uplink.Acknowledged, "")
	c.Grow(t, topic, partitions+2)
	eventually(t, func(ctx context.Context) error {
		if n, err := s.Partitions(ctx, topic); err != nil || n != partitions+2 {
			return fmt.Errorf("%d partitions, %w", n, err)
		}
		return nil
	})
	b := batch(t, s, topic, 0, 1)
	b.Partition = partitions + 1
	want(t, send(t, s, b), uplink.Acknowledged, "")
}

// saysTooLarge: a batch beyond max.message.bytes is refused as such, and its
// halves go out under the same producer and sequence.
func saysTooLarge(t *testing.T, c Cluster, connect Connect) {
	if !c.Limits {
		t.Skip("this cluster enforces no limits")
	}
	topic := c.Topic(t, partitions, map[string]string{"max.message.bytes": "900"})
	s := connect(t, topic, wallClock)
	b := batch(t, s, topic, 1, 2)
	for i := range b.Records {
		b.Records[i].Body = noise(500, uint64(i)+1)
	}
	out := send(t, s, b)
	want(t, out, uplink.TooLarge, "")
	if out.Unknown {
		t.Error("says that a batch refused for its size may be stored")
	}
	half := b
	half.Records = b.Records[:1]
	want(t, send(t, s, half), uplink.Acknowledged, "")
}

// noise is text that no codec makes much smaller.
func noise(n int, seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 0))
	out := make([]byte, n)
	for i := range out {
		out[i] = '!' + byte(random.IntN(90))
	}
	return out
}

// seesClock: a clock ahead is named as the cause, and the same batch goes out
// once it is set right, or not trusted.
func seesClock(t *testing.T, c Cluster, connect Connect) {
	if !c.Limits {
		t.Skip("this cluster does not look at timestamps")
	}
	topic := c.Topic(t, partitions, map[string]string{"message.timestamp.type": "CreateTime"})
	now := time.Now().AddDate(1, 0, 0)
	trusted := true
	s := connect(t, topic, func() (time.Time, bool) { return now, trusted })
	b := batch(t, s, topic, 1, 3)
	want(t, send(t, s, b), uplink.Hold, "clock")
	trusted = false
	want(t, send(t, s, b), uplink.Acknowledged, "")
	now, trusted = time.Now(), true
	want(t, send(t, s, b), uplink.Acknowledged, "")
	if got := c.Read(t, topic); len(got) != len(b.Records) {
		t.Errorf("%d events are stored, want %d", len(got), len(b.Records))
	}
}

// outlives: without a broker every call returns soon and holds nobody to blame;
// when it is back the same Sink goes on, and what was stored stays stored once.
func outlives(t *testing.T, c Cluster, connect Connect) {
	if c.Down == nil || c.Forgets > 0 {
		t.Skip("this cluster cannot be taken down, or forgets producers meanwhile")
	}
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	b := batch(t, s, topic, 1, 10)
	want(t, send(t, s, b), uplink.Acknowledged, "")
	c.Down(t)
	for range 3 {
		if out := s.Send(t.Context(), b); out.Result != uplink.Again {
			t.Errorf("without a broker: result %d, error %v", out.Result, out.Err)
		}
	}
	if out := s.Send(t.Context(), b); out.Unknown {
		t.Errorf("a broker that cannot be reached may have stored the batch: %v", out.Err)
	}
	c.Up(t)
	want(t, send(t, s, b), uplink.Acknowledged, "")
	if got := c.Read(t, topic); len(got) != len(b.Records) {
		t.Errorf("%d events are stored, want %d", len(got), len(b.Records))
	}
}

// isForgotten: after its expiry a producer's sequences mean nothing any more.
// A batch sent again is then stored again, without an error: the reason why the
// Forwarder asks for a new one after half that time.
func isForgotten(t *testing.T, c Cluster, connect Connect) {
	if c.Forgets == 0 {
		t.Skip("this cluster remembers producers for a day")
	}
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	b := batch(t, s, topic, 1, 10)
	want(t, send(t, s, b), uplink.Acknowledged, "")
	time.Sleep(c.Forgets)
	want(t, send(t, s, b), uplink.Acknowledged, "")
	if got := c.Read(t, topic); len(got) != 2*len(b.Records) {
		t.Errorf("%d events are stored; has the cluster's expiry changed?", len(got))
	}
}

// endsInTime: a context that has ended ends every call.
func endsInTime(t *testing.T, c Cluster, connect Connect) {
	topic := c.Topic(t, partitions, nil)
	s := connect(t, topic, wallClock)
	b := batch(t, s, topic, 1, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	if out := s.Send(ctx, b); out.Result == uplink.Acknowledged {
		t.Error("sent after its context ended")
	}
	if _, err := s.Partitions(ctx, topic); err == nil {
		t.Error("asked after its context ended")
	}
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("took %v to notice that the context had ended", took)
	}
}
