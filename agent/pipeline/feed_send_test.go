package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
	"tocsin/uplink/kafka"
)

// While Kafka hangs the judge goes on; what finds no room is dropped, counted
// and leaves a gap in the sequence.
func TestPublisherThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &topic{block: func(ctx context.Context) { <-ctx.Done() }}
		f := newFeed(p, time.Second, 0)
		w := channel("pump1.temp")
		done := make(chan struct{})
		go func() { defer close(done); f.Run(t.Context()) }()
		for i := range int64(rowsWaiting) {
			f.give(w, i*1e9, 1)
		}
		time.Sleep(gatherTime + time.Second) // the first are on their way
		began := time.Now()
		for i := range int64(2 * rowsWaiting) {
			f.give(w, (rowsWaiting+i)*1e9, 1)
		}
		if s := f.Stats()["samples"]; s.Full < rowsWaiting/2 || s.Sent != 0 || time.Since(began) != 0 {
			t.Errorf("%+v after %v", s, time.Since(began))
		}
		time.Sleep(2*sendTime + time.Second) // and given up
		p.mu.Lock()
		p.block = nil
		p.mu.Unlock()
		time.Sleep(time.Minute)
		f.finish()
		<-done
		ledger(t, f)
		s, all := f.Stats()["samples"], p.bodies(t)
		if s.Sent == 0 || s.Unsent == 0 {
			t.Errorf("%+v", s)
		}
		if n := uint64(len(all)); n == 0 || all[n-1].Seq <= n {
			t.Errorf("%d messages, the last has sequence %d: no gap", n, all[n-1].Seq)
		}
	})
}

// What is not taken is tried once more; then it is dropped, counted and said
// once, and so is the end of the outage.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		p := &topic{fail: func(int) error {
			if down {
				return uplink.Outcome{Result: uplink.Again, Err: errors.New("connection refused")}
			}
			return nil
		}}
		var log bytes.Buffer
		f := newFeed(p, time.Second, 0)
		f.samples.o.Log = slog.New(slog.NewTextHandler(&log, nil))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		w := channel("pump1.temp")
		for i := range int64(1000) {
			f.give(w, i*1e9, 1)
			time.Sleep(time.Second)
			if i == 900 {
				synctest.Wait()
				p.mu.Lock()
				down = false
				if p.tries < 20 || p.tries > 60 {
					t.Errorf("tried %d times in 15 minutes", p.tries)
				}
				p.mu.Unlock()
			}
		}
		f.finish()
		cancel()
		<-done
		ledger(t, f)
		if s := f.Stats()["samples"]; s.Unsent < 800 || s.Sent < 80 || s.Made != 1000 {
			t.Errorf("%+v", s)
		}
		if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "reaches Kafka again") {
			t.Errorf("%d lines in the log:\n%s", lines, log.String())
		}
	})
}

// One failure alone costs nothing.
func TestSecondTry(t *testing.T) {
	p := &topic{fail: func(try int) error {
		if try == 1 {
			return errors.New("broken pipe")
		}
		return nil
	}}
	f := newFeed(p, time.Second, 0)
	f.give(channel("pump1.temp"), 1, 1)
	if got := delivered(t, f, p); len(got) != 1 || f.Stats()["samples"].Sent != 1 {
		t.Errorf("%d messages: %+v", len(got), f.Stats())
	}
}

// The stop is bounded whatever Kafka does, and every row is accounted for.
func TestStopWhileKafkaHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &topic{block: func(ctx context.Context) { <-ctx.Done() }}
		f := newFeed(p, time.Second, time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); f.Run(ctx) }()
		w := channel("pump1.temp")
		for i := range int64(100) {
			f.give(w, i*1e9, 1)
		}
		time.Sleep(3 * time.Second)
		cancel()
		began := time.Now()
		<-done
		if took := time.Since(began); took > parting {
			t.Errorf("stopped after %v", took)
		}
		for i := range int64(100) {
			f.give(w, (100+i)*1e9, 1) // a judge that was not told
		}
		f.finish()
		ledger(t, f)
		if s := f.Stats()["samples"]; s.Stopped == 0 || s.Made != 200 {
			t.Errorf("%+v", s)
		}
	})
}

// A machine of many channels is told of in pieces, none too large, and nothing
// of it is missing.
func TestLargeMachine(t *testing.T) {
	p := &topic{}
	f := newFeed(p, time.Second, 0)
	const n = 3000
	for i := range n {
		f.give(channel("pump1."+strings.Repeat("x", 115)+fmt.Sprint(i)), 1e9, 1.0/3)
	}
	seen, all := map[string]bool{}, delivered(t, f, p)
	for i, b := range all {
		if size := len(p.messages[i].Value); size > gatherBytes+4096 {
			t.Errorf("message of %d bytes", size)
		}
		if b.Seq != uint64(i+1) {
			t.Errorf("message %d has sequence %d", i, b.Seq)
		}
		for _, c := range b.Channels {
			seen[c.Channel] = true
		}
	}
	if len(seen) != n || len(all) < 3 || len(all) > 8 {
		t.Errorf("%d channels in %d messages", len(seen), len(all))
	}
}

// Channels of a machine that end a window together are one message, another
// machine's are another, and so are those of no machine.
func TestOneMessageAMachineAndWindow(t *testing.T) {
	p := &topic{}
	f := newFeed(p, time.Second, 0)
	for i, c := range []alarms.Channel{
		{Channel: sensors.Channel{Name: "pump1.a"}, Machine: "pump1", Key: "hall/pump1"}, {Channel: sensors.Channel{Name: "pump1.b"}, Machine: "pump1", Key: "hall/pump1"},
		{Channel: sensors.Channel{Name: "gw.a"}, Machine: "gw", Key: "hall/gw"}, {Channel: sensors.Channel{Name: "plain"}, Key: "hall/gw"},
	} {
		w := channel("")
		w.Channel = c
		f.give(w, int64(i), 1)
	}
	var got []string
	for i, b := range delivered(t, f, p) {
		got = append(got, fmt.Sprintf("%s %q %d", p.messages[i].Key, b.Machine, len(b.Channels)))
	}
	want(t, got, `hall/pump1 "pump1" 2`, `hall/gw "gw" 1`, `hall/gw "" 1`)
}

// Bodies are what their schemas promise, whatever the readings and names are.
func TestBodiesHoldToTheirSchemas(t *testing.T) {
	valid := map[string]*jsonschema.Schema{}
	for name, text := range map[string][]byte{"samples": SamplesSchema(), "scores": ScoresSchema()} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c := jsonschema.NewCompiler()
		c.AssertFormat()
		if err := c.AddResource(name, doc); err != nil {
			t.Fatal(err)
		}
		if valid[name], err = c.Compile(name); err != nil {
			t.Fatal(err)
		}
	}
	p := &topic{}
	f := newFeed(p, time.Second, time.Second)
	inf := math.Inf(1)
	for i, value := range []float64{0, -1, 1e300, -1e300, math.MaxFloat64, -math.MaxFloat64, 5e-324, 1e7, 1.0 / 3, 1e21} {
		w := channel("pu\"m\\p\x01\xff<1>.températur")
		w.traits = []detectors.Traits{{Name: "ewma"}}
		w.Detectors = []detectors.Detector{pupil{says{}, i%2 == 0}}
		if i%2 == 0 {
			w.Low, w.High = -inf, inf
		}
		w.Channel.Unit = "\""
		best := [alarms.Classes]int{i%2 - 1, 0}
		verdicts := [alarms.Classes]detectors.Verdict{{Score: float64(i) / 9, Low: -inf, High: inf}, {Score: 1, Low: value, High: inf}}
		for at := range int64(5) {
			f.add(w, at*3e8-7, value*float64(1-2*(at%2)), &best, &verdicts)
		}
	}
	delivered(t, f, p)
	if len(p.messages) < 4 {
		t.Fatalf("%d messages", len(p.messages))
	}
	for i, m := range p.messages {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(m.Value))
		if err != nil {
			t.Fatalf("%v\n%s", err, m.Value)
		}
		if err := valid[p.topics[i]].Validate(doc); err != nil {
			t.Errorf("%v\n%s", err, m.Value)
		}
	}
}

// The stop of a street sends the windows that are open.
func TestStreetSendsItsLastWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			for ctx.Err() == nil {
				put(ctx, out, 1)
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		})
		p, q := &topic{}, &topic{}
		first, second := newFeed(p, time.Hour, time.Hour), newFeed(q, 0, time.Hour)
		s.Judge.Feed, s.Beside = first, append(s.Beside, first.Run)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		time.AfterFunc(10*time.Second, func() {
			if err := s.Feed(second); err != nil {
				t.Error(err)
			}
		})
		s.Run(ctx)
		ledger(t, first)
		ledger(t, second)
		count := uint32(0)
		for _, b := range append(p.bodies(t), q.bodies(t)...) {
			if b.Channels[0].Process != nil {
				count += b.Channels[0].Count
			}
		}
		if judged := s.Sources[0].Writer.Counters.Judged.Load(); uint64(count) != judged || judged < 190 {
			t.Errorf("%d readings judged, %d in scores", judged, count)
		}
		if len(p.messages) != 2 || len(q.messages) != 1 {
			t.Errorf("%d and %d messages, want 2 of the first feed and 1 of the second", len(p.messages), len(q.messages))
		}
	})
}

// From the judge to a consumer: a street publishes to a Kafka cluster, and each
// reading is found there once, in its machine's partition, under a CloudEvent.
func TestFeedReachesKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "my.scores", "my.samples"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	sink, err := kafka.New(kafka.Options{Brokers: cluster.ListenAddrs(), Topic: "events", ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close() })

	s, _ := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
		for i := 0; ctx.Err() == nil; i++ {
			put(ctx, out, float64(i%100))
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	feed := NewFeed(FeedOptions{Publisher: sink, Origin: alarms.Origin{Device: "gw", Source: "/gw"}, Log: slog.New(slog.DiscardHandler),
		Samples: &Stream{Topic: "my.samples", Every: 100 * time.Millisecond}, Scores: &Stream{Topic: "my.scores", Every: 100 * time.Millisecond}})
	s.Judge.Feed, s.Beside = feed, append(s.Beside, feed.Run)
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	s.Run(ctx)
	ledger(t, feed)

	made := feed.Stats()["samples"].Made + feed.Stats()["scores"].Made
	if made < 20 {
		t.Fatalf("only %d rows", made)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("my.scores", "my.samples"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	count, rows, wire := map[string]uint64{}, uint64(0), 0
	deadline, giveUp := context.WithTimeout(t.Context(), 5*time.Second)
	defer giveUp()
	for rows < made && deadline.Err() == nil {
		client.PollFetches(deadline).EachRecord(func(r *kgo.Record) {
			headers := map[string]string{}
			for _, h := range r.Headers {
				headers[h.Key] = string(h.Value)
			}
			stream := strings.TrimPrefix(r.Topic, "my.")
			var b body
			if err := json.Unmarshal(r.Value, &b); err != nil {
				t.Fatal(err)
			}
			if string(r.Key) != "pump1" || headers["ce_type"] != "tocsin."+stream+".v1" || headers["ce_source"] != "/gw" ||
				!strings.HasPrefix(headers["ce_id"], "gw."+b.Instance+"."+stream+".") {
				t.Errorf("key %q, headers %v", r.Key, headers)
			}
			for _, c := range b.Channels {
				count[stream] += uint64(c.Count)
				rows++
			}
			wire += len(r.Value)
		})
	}
	judged := s.Sources[0].Writer.Counters.Judged.Load()
	if count["scores"] != judged || count["samples"] != judged {
		t.Errorf("%d readings judged, in Kafka %v", judged, count)
	}
	t.Logf("%d readings in %d rows, %d bytes before compression", judged, rows, wire)
}

// A channel that falls silent is told of while the street runs.
func TestStreetTellsOfASilentChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
			put(ctx, out, 1, 2, 3)
			<-ctx.Done()
			return nil
		})
		p := &topic{}
		feed := newFeed(p, 10*time.Second, 0)
		s.Judge.Feed, s.Beside = feed, append(s.Beside, feed.Run)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		time.AfterFunc(10*time.Second+slack+gatherTime+2*tick, func() {
			if all := p.bodies(t); len(all) != 1 || all[0].Channels[0].Count != 3 || s.Feeding()["samples"].Sent != 1 {
				t.Errorf("%+v", all)
			}
		})
		s.Run(ctx)
	})
}
