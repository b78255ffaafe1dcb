package health

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/uplink"
)

// box keeps what is published, or refuses it.
type box struct {
	mu     sync.Mutex
	err    error
	delay  time.Duration
	sent   []Status
	keys   []uplink.Message
	tries  int
	claims int
}

func (b *box) Publish(ctx context.Context, topic string, messages []uplink.Message) error {
	b.mu.Lock()
	b.tries++
	delay := b.delay
	b.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	for _, m := range messages {
		var s Status
		if err := json.Unmarshal(m.Value, &s); err != nil {
			return err
		}
		b.sent, b.keys = append(b.sent, s), append(b.keys, m)
	}
	return nil
}

func (b *box) Claim(context.Context, string, string, string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims++
	return "", nil
}

// become makes it refuse, or answer only after a while.
func (b *box) become(err error, delay time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.delay = err, delay
}

// counts is how many records were sent and how many were tried.
func (b *box) counts() (sent, tries int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.sent), b.tries
}

// report runs a reporter over a plant while act does something.
func report(t *testing.T, act func(p *plant, b *box)) *box {
	t.Helper()
	b := &box{}
	synctest.Test(t, func(t *testing.T) {
		p := newPlant()
		p.now.Kafka.Since = time.Now()
		r := &Reporter{Monitor: p.Monitor, Sink: b, Log: slog.New(slog.DiscardHandler),
			Address: func() Address { return Address{"status", p.look().Device, "/acme/gw-1"} }}
		ctx, stop := context.WithCancel(t.Context())
		var over sync.WaitGroup
		over.Go(func() { r.Run(ctx) })
		time.Sleep(11 * time.Second) // the first is sent within ten
		synctest.Wait()
		act(p, b)
		stop()
		began := time.Now()
		over.Wait()
		if took := time.Since(began); took > farewell {
			t.Errorf("the stop took %v", took)
		}
	})
	return b
}

func TestRecordEachMinuteAndAtTheEnd(t *testing.T) {
	b := report(t, func(*plant, *box) { time.Sleep(5 * time.Minute) })
	if n := len(b.sent); n != 7 {
		t.Fatalf("%d records in five minutes, want one at once, one a minute and the last", n)
	}
	ids := map[string]bool{}
	for i, m := range b.keys {
		if string(m.Key) != "gw-1" || m.Type != "tocsin.status.v1" || m.Source != "/acme/gw-1" || m.Time != b.sent[i].SentAt.UnixNano() || ids[m.ID] {
			t.Errorf("record %d: %+v", i, m)
		}
		ids[m.ID] = true
	}
	for i, s := range b.sent[:6] {
		if s.State != Running || s.NextBy == nil || s.Usage.Goroutines == 0 {
			t.Fatalf("record %d: %+v", i, s)
		}
		if i > 0 && b.sent[i-1].NextBy.Before(s.SentAt) {
			t.Errorf("record %d came at %v, after %v was promised", i, s.SentAt, b.sent[i-1].NextBy)
		}
		if s.Reports.Sent != uint64(i) {
			t.Errorf("record %d counts %d", i, s.Reports.Sent)
		}
	}
	if last := b.sent[6]; last.State != Stopped || last.NextBy != nil {
		t.Errorf("the last: %s, next by %v", last.State, last.NextBy)
	}
	if b.claims != 6 {
		t.Errorf("%d claims", b.claims)
	}
}

func TestRecordOnChange(t *testing.T) {
	b := report(t, func(p *plant, b *box) {
		before, _ := b.counts()
		p.change(func(s *Status) { s.Config.Refused = "line 3" })
		time.Sleep(changes)
		synctest.Wait()
		if n, _ := b.counts(); n != before+1 || b.sent[before].Health != Degraded {
			t.Errorf("%d records after a change", n-before)
		}
		for i := range 30 { // a minute of flapping
			p.change(func(s *Status) { s.Kafka.Connected = i%2 == 0 })
			time.Sleep(2 * time.Second)
		}
		synctest.Wait()
		if n, _ := b.counts(); n-before < 5 || n-before > 1+13 {
			t.Errorf("%d records in a minute of flapping", n-before)
		}
	})
	for i := 1; i < len(b.sent)-1; i++ {
		if d := b.sent[i].SentAt.Sub(b.sent[i-1].SentAt); d < changes {
			t.Errorf("two records within %v", d)
		}
	}
}

// A Kafka that is away is asked once a minute; the record goes as soon as it is
// back.
func TestRecordsWhileKafkaIsAway(t *testing.T) {
	report(t, func(p *plant, b *box) {
		_, before := b.counts()
		b.become(uplink.Outcome{Result: uplink.Again, Err: errors.New("timeout"), Cure: "check the network"}, patience/2)
		p.change(func(s *Status) { s.Kafka = Kafka{Error: "timeout", Since: time.Now()} })
		for i := range 120 { // sources go up and down meanwhile
			p.source("csv.log", func(s *Source) { s.State = []string{"waiting", "ended"}[i/12%2]; s.Since = time.Now() })
			time.Sleep(5 * time.Second)
		}
		if _, n := b.counts(); n-before < 8 || n-before > 14 {
			t.Errorf("%d tries in ten minutes", n-before)
		}
		s := p.glance()
		if s.Reports.Since == nil || s.Reports.Failed == 0 || s.Reports.Cure != "" {
			t.Errorf("counted: %+v", s.Reports)
		}
		time.Sleep(30 * time.Second) // a try under way ends
		sent, _ := b.counts()
		b.become(nil, 0)
		p.change(func(s *Status) { s.Kafka = Kafka{Connected: true} })
		time.Sleep(2 * changes)
		synctest.Wait()
		if n, _ := b.counts(); n <= sent {
			t.Error("no record when Kafka is back")
		}
		if s := p.glance(); s.Reports.Since != nil || s.Reports.Error != "" {
			t.Errorf("it goes on to tell of the failure: %+v", s.Reports)
		}
	})
}

// A Kafka that does not answer does not hold up the stop.
func TestStopWithoutAnswer(t *testing.T) {
	report(t, func(_ *plant, b *box) { b.become(nil, time.Hour) })
}

// A device that gets another name does not look dead under the former one.
func TestDeviceIsRenamed(t *testing.T) {
	b := report(t, func(p *plant, _ *box) {
		p.change(func(s *Status) { s.Device = "gw-2" })
		time.Sleep(2 * changes)
	})
	var story []string
	for i, s := range b.sent {
		if string(b.keys[i].Key) != s.Device {
			t.Errorf("record %d of %s has the key %s", i, s.Device, b.keys[i].Key)
		}
		story = append(story, s.Device+" "+s.State)
	}
	if want := []string{"gw-1 running", "gw-1 stopped", "gw-2 running", "gw-2 stopped"}; !slices.Equal(story, want) {
		t.Errorf("told %q, want %q", story, want)
	}
}
