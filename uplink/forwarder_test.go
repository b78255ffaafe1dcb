package uplink_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/uplink"
)

// running starts a Forwarder in the present bubble; it ends with the test, or
// with stop.
func running(t *testing.T, d *disk, c *cluster, o uplink.ForwarderOptions) (f *uplink.Forwarder, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{disk: d, cluster: c, kill: cancel}
	o.Topic = "events"
	f = uplink.NewForwarder(p, p, o)
	done := make(chan struct{})
	go func() {
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
		close(done)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return f, stop
}

// waits lets time pass until the disk is empty.
func waits(t *testing.T, d *disk, most time.Duration) {
	t.Helper()
	defer synctest.Wait()
	for begun := time.Now(); !d.empty(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > most {
			t.Fatalf("not delivered within %v", most)
		}
	}
}

func bubble(t *testing.T, name string, f func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, f) })
}

// always and never are faults of every batch of a partition, or of none.
func always(partition int32, what fault) func(uplink.Batch) fault {
	return func(b uplink.Batch) fault {
		if b.Partition == partition {
			return what
		}
		return arrives
	}
}

// sameBatch reports whether b is a, under the same producer and sequence.
func sameBatch(a, b uplink.Batch) bool {
	return a.Producer == b.Producer && a.Sequence == b.Sequence && slices.EqualFunc(a.Records, b.Records,
		func(x, y uplink.Record) bool { return x.Seq == y.Seq })
}

func TestForwarder(t *testing.T) {
	bubble(t, "a batch whose fate is unknown is sent again as it was", func(t *testing.T) {
		c, d := newCluster(1), newDisk(10)
		left := 3
		c.fault = func(uplink.Batch) fault {
			if left--; left >= 0 {
				return unanswered
			}
			return arrives
		}
		d.put(event(1), event(2))
		running(t, d, c, uplink.ForwarderOptions{})
		waits(t, d, 5*time.Second)
		for _, b := range c.sends {
			if !sameBatch(c.sends[0], b) {
				t.Errorf("sent %+v first and then %+v", c.sends[0].Lane, b.Lane)
			}
		}
		if len(c.sends) != 4 || len(c.partitions[0].ids) != 2 || len(d.repeated) != 0 {
			t.Errorf("%d sends, %d stored, %d possibly repeated; want 4, 2, 0", len(c.sends), len(c.partitions[0].ids), len(d.repeated))
		}
	})

	bubble(t, "a partition that is held does not hold the others", func(t *testing.T) {
		c, d := newCluster(3), newDisk(10)
		c.fault = always(1, denied)
		for i := range events {
			d.put(event(i))
		}
		f, _ := running(t, d, c, uplink.ForwarderOptions{})
		time.Sleep(time.Minute)
		stored := len(c.stored())
		if stored < events/2 || stored == events || len(c.partitions[1].ids) != 0 {
			t.Errorf("%d of %d events are stored", stored, events)
		}
		s := f.Status()
		if s.Connected || s.Cure != "ask for the right" || s.Error != "denied" || time.Since(s.Since) > time.Minute {
			t.Errorf("the status does not say so: %+v", s)
		}
		if l := s.Lanes[1]; l.InFlight == 0 || l.Attempts < 3 || l.Cure == "" || s.Lanes[0].Error != "" {
			t.Errorf("the lanes do not say so: %+v", s.Lanes)
		}
		c.mu.Lock()
		c.fault = nil
		c.mu.Unlock()
		waits(t, d, time.Minute+time.Second) // the longest back-off
		time.Sleep(time.Second)
		if s := f.Status(); !s.Connected || s.Error != "" || s.Delivered != events {
			t.Errorf("the status does not say that it is over: %+v", s)
		}
	})

	bubble(t, "the first partition that gets through wakes the others", func(t *testing.T) {
		c, d := newCluster(3), newDisk(events)
		c.fault = func(uplink.Batch) fault { return unsent }
		for i := range events {
			d.put(event(i))
		}
		running(t, d, c, uplink.ForwarderOptions{})
		time.Sleep(time.Hour)
		c.mu.Lock()
		c.fault = nil
		c.mu.Unlock()
		for len(c.stored()) == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		waits(t, d, 100*time.Millisecond)
	})

	bubble(t, "the cure is said once, and then rarely; the end too", func(t *testing.T) {
		c, d := newCluster(3), newDisk(10)
		c.fault = func(uplink.Batch) fault { return denied }
		for i := range events {
			d.put(event(i))
		}
		var said bytes.Buffer
		running(t, d, c, uplink.ForwarderOptions{Log: slog.New(slog.NewTextHandler(&said, nil))})
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n := strings.Count(said.String(), "ask for the right"); n < 9 || n > 11 {
			t.Errorf("said %d times in 10 h to three lanes, want about 10", n)
		}
		if n := len(c.sends); n < 3*600 || n > 3*3000 {
			t.Errorf("sent %d times in 10 h by three lanes; the back-off should end at up to a minute", n)
		}
		c.mu.Lock()
		c.fault = nil
		c.mu.Unlock()
		waits(t, d, 2*time.Minute)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := strings.Count(said.String(), "takes events again"); n != 1 {
			t.Errorf("the end is said %d times", n)
		}
	})

	bubble(t, "a producer the broker no longer knows", func(t *testing.T) {
		for _, before := range []fault{unsent, lost, unanswered} {
			c, d := newCluster(1), newDisk(10)
			n := 0
			c.fault = func(uplink.Batch) fault {
				n++
				return []fault{before, forgotten, arrives}[min(n-1, 2)]
			}
			d.put(event(1), event(2))
			f, stop := running(t, d, c, uplink.ForwarderOptions{})
			waits(t, d, 5*time.Second)
			stop()
			first, last := c.sends[0], c.sends[len(c.sends)-1]
			if first.Producer == last.Producer || last.Sequence != 0 || len(last.Records) != 2 {
				t.Errorf("sent under %+v, then %+v", first.Lane, last.Lane)
			}
			if doubt := before != unsent; doubt != (len(d.repeated) == 2) || doubt != (f.Status().Repeated == 2) {
				t.Errorf("after fault %d: %d events count as possibly repeated", before, len(d.repeated))
			}
			if twice := c.stored()["gw.0000000000000001.1"] == 2; twice != (before == unanswered) {
				t.Errorf("after fault %d: stored %v", before, c.stored())
			}
		}
	})

	bubble(t, "a batch that is too large is halved, and the one record put aside", func(t *testing.T) {
		c, d := newCluster(1), newDisk(8)
		c.largest = 40
		big := event(5)
		big.Body = make([]byte, 50)
		for i := range 4 {
			d.put(event(i + 1))
		}
		d.put(big, event(6), event(7), event(8))
		f, _ := running(t, d, c, uplink.ForwarderOptions{})
		waits(t, d, 5*time.Second)
		if len(d.buried) != 1 || d.buried[0] != big.ID() || len(c.partitions[0].ids) != 7 || len(d.repeated) != 0 {
			t.Errorf("buried %v, stored %v, repeated %v", d.buried, c.partitions[0].ids, d.repeated)
		}
		if c.producers != 1 {
			t.Error("a part went out under another sequence than the whole: the broker saw a gap")
		}
		if s := f.Status(); s.Buried != 1 || s.Delivered != 7 {
			t.Errorf("%+v", s)
		}
		if !slices.IsSorted(c.partitions[0].ids) {
			t.Errorf("out of order: %v", c.partitions[0].ids)
		}
	})

	bubble(t, "new partitions are used, those that are gone give back their batch", func(t *testing.T) {
		c, d := newCluster(1), newDisk(10)
		f, _ := running(t, d, c, uplink.ForwarderOptions{})
		time.Sleep(time.Minute)
		c.grow(3)
		time.Sleep(5 * time.Minute)
		for i := range events {
			d.put(event(i))
		}
		waits(t, d, time.Minute)
		if len(c.partitions[1].ids) == 0 || len(c.partitions[2].ids) == 0 || f.Status().Partitions != 3 {
			t.Error("the new partitions are not used")
		}
		c.grow(1) // deleted and made anew
		for i := range events {
			d.put(event(events + i))
		}
		waits(t, d, time.Hour)
		if s := f.Status(); !s.Connected {
			t.Errorf("%+v", s)
		}
		for i := range events {
			r := event(events + i)
			if c.stored()[r.ID()] != 1 {
				t.Fatalf("%s is stored %d times", r.ID(), c.stored()[r.ID()])
			}
		}
	})

	bubble(t, "after a batch that the disk lost, the next does not pass for it", func(t *testing.T) {
		c, d := newCluster(1), newDisk(2)
		d.loses = true
		c.fault = func(uplink.Batch) fault {
			if len(c.sends) == 1 {
				return unanswered
			}
			c.largest = map[bool]int{true: 1, false: 0}[len(c.sends) == 2]
			return arrives
		}
		d.put(event(1), event(2), event(3), event(4))
		running(t, d, c, uplink.ForwarderOptions{})
		waits(t, d, time.Minute)
		if n := len(c.partitions[0].ids); n != 4 {
			t.Errorf("stored %v", c.partitions[0].ids)
		}
	})

	bubble(t, "after a batch given back or buried in doubt, the next does not pass for it", func(t *testing.T) {
		for _, buried := range []bool{false, true} {
			c, d := newCluster(3), newDisk(1)
			c.fault = func(b uplink.Batch) fault {
				c.fault = nil
				c.append(b) // stored, unanswered
				if buried {
					c.largest = 1 // then the topic takes no such record any more
				} else {
					c.denies = 1 // then the brokers lag behind
				}
				return lost
			}
			d.put(event(1))
			_, stop := running(t, d, c, uplink.ForwarderOptions{})
			waits(t, d, time.Hour)
			c.mu.Lock()
			c.denies, c.largest = 0, 0
			c.mu.Unlock()
			time.Sleep(10 * time.Minute)
			next := event(6) // of the same machine
			d.put(next)
			waits(t, d, time.Minute)
			if c.stored()[next.ID()] != 1 {
				t.Errorf("buried: %v: stored %v", buried, c.stored())
			}
			stop()
		}
	})

	bubble(t, "a partition that is denied for a while keeps its batch", func(t *testing.T) {
		c, d := newCluster(3), newDisk(10)
		left := 1
		c.fault = func(b uplink.Batch) fault {
			if left--; left >= 0 {
				return unanswered
			}
			return arrives
		}
		d.put(event(1))
		partition := uplink.Partition(event(1).Key, 3)
		if partition == 0 {
			t.Fatal("this test needs an event of another partition")
		}
		f, _ := running(t, d, c, uplink.ForwarderOptions{})
		for f.Status().Lanes == nil || len(c.stored()) == 0 {
			time.Sleep(time.Millisecond)
		}
		c.mu.Lock()
		c.denies = 1 // a broker that lags behind
		c.mu.Unlock()
		time.Sleep(10 * time.Minute)
		c.mu.Lock()
		c.denies = 0
		c.mu.Unlock()
		waits(t, d, 5*time.Minute)
		if n := len(c.partitions[partition].ids); n != 1 || len(c.stored()) != 1 || len(d.repeated) != 0 {
			t.Errorf("stored %v, %d possibly repeated", c.stored(), len(d.repeated))
		}
	})

	bubble(t, "what was in flight to a topic of former days", func(t *testing.T) {
		for _, deleted := range []string{"", "former"} {
			c, d := newCluster(1), newDisk(10)
			c.deleted = deleted
			old := uplink.Batch{Lane: uplink.Lane{Topic: "former", Partitions: 1, Producer: uplink.Producer{ID: 77}}, Since: time.Now()}
			old.Records = []uplink.Record{event(1)}
			d.flying[at(old)] = old
			d.put(event(2))
			c.producers = 100
			f, stop := running(t, d, c, uplink.ForwarderOptions{})
			waits(t, d, time.Hour)
			for _, b := range c.sends {
				if former := b.Producer.ID == 77; former != (b.Topic == "former") {
					t.Errorf("sent to %s under producer %d", b.Topic, b.Producer.ID)
				}
			}
			if len(c.partitions[0].ids) != 2 || len(d.repeated) != len(deleted)/6 {
				t.Errorf("stored %v, possibly repeated %v", c.partitions[0].ids, d.repeated)
			}
			time.Sleep(time.Second)
			if s := f.Status(); len(s.Lanes) != 1 || !s.Connected {
				t.Errorf("%+v", s)
			}
			stop()
		}
	})

	bubble(t, "sequences wrap as the broker's do", func(t *testing.T) {
		c, d := newCluster(1), newDisk(10)
		l := c.partitions[0]
		l.ids = []string{"another's"}
		b := uplink.Batch{Lane: uplink.Lane{Topic: "events", Partitions: 1, Sequence: 1<<31 - 2, Producer: uplink.Producer{ID: 77}}}
		b.Records = []uplink.Record{event(1), event(2), event(3)}
		c.producers = 76 // so that the process is given the same, and goes on counting
		b.Since = time.Now()
		d.flying[at(b)] = b
		d.put(event(4))
		running(t, d, c, uplink.ForwarderOptions{})
		waits(t, d, time.Minute)
		if n := len(l.ids); n != 5 {
			t.Errorf("stored %v", l.ids)
		}
	})
}

// What an earlier process left in flight goes out under its old producer, or a
// new one where that may be forgotten: the tests tell by the possibly repeated.
func TestAge(t *testing.T) {
	built := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name      string
		since     time.Duration // before now
		boot      string
		uptime    time.Duration
		untrusted bool
		fresh     bool // goes out under a new producer
		counted   bool // as possibly repeated
	}{
		{name: "an hour", since: time.Hour},
		{name: "half a day", since: 12*time.Hour + time.Minute, fresh: true, counted: true},
		{name: "no clock", since: time.Hour, untrusted: true, counted: true},
		{name: "from the future", since: -time.Hour, counted: true},
		{name: "stamped before the clock was set", since: 50 * 365 * 24 * time.Hour, counted: true},
		{name: "the clock was set since the boot", since: 50 * 365 * 24 * time.Hour, boot: "this", uptime: time.Hour},
		{name: "no clock, but the same boot", since: time.Hour, boot: "this", uptime: 2 * time.Hour, untrusted: true},
		{name: "no clock, the same boot, long ago", since: -time.Hour, boot: "this", uptime: 20 * time.Hour, counted: true},
		{name: "half a day of this boot", since: 13 * time.Hour, boot: "this", uptime: 20 * time.Hour, fresh: true, counted: true},
	} {
		bubble(t, c.name, func(t *testing.T) {
			time.Sleep(time.Until(built.Add(365 * 24 * time.Hour)))
			k, d := newCluster(1), newDisk(10)
			k.producers = 100
			old := uplink.Batch{Lane: uplink.Lane{Topic: "events", Partitions: 1, Producer: uplink.Producer{ID: 77}}, Boot: c.boot}
			old.Records, old.Since = []uplink.Record{event(1)}, time.Now().Add(-c.since)
			d.flying[at(old)] = old
			d.put(event(2))
			o := uplink.ForwarderOptions{Boot: "this", Oldest: built, Clock: func() (time.Time, bool) { return time.Now(), !c.untrusted }}
			o.Uptime = func() time.Duration { return c.uptime }
			running(t, d, k, o)
			waits(t, d, time.Minute)
			if fresh := k.sends[0].Producer.ID != 77; fresh != c.fresh || (len(d.repeated) == 1) != c.counted {
				t.Errorf("fresh producer: %v, counted: %v; want %v, %v", fresh, len(d.repeated) == 1, c.fresh, c.counted)
			}
			if len(k.partitions[0].ids) != 2 {
				t.Errorf("stored %v", k.partitions[0].ids)
			}
		})
	}
}

// A batch that this process could not place for half a day gets a new producer,
// and counts as possibly repeated only if a broker may have had it.
func TestExpiryWhileHeld(t *testing.T) {
	for _, what := range []fault{unsent, lost} {
		bubble(t, "", func(t *testing.T) {
			c, d := newCluster(1), newDisk(10)
			c.fault = func(uplink.Batch) fault { return what }
			d.put(event(1))
			running(t, d, c, uplink.ForwarderOptions{})
			time.Sleep(30 * time.Hour)
			producers := map[uplink.Producer]bool{}
			c.mu.Lock()
			for _, b := range c.sends {
				producers[b.Producer] = true
			}
			c.fault = nil
			c.mu.Unlock()
			if len(producers) != 3 {
				t.Errorf("%d producers in 30 h, want 3", len(producers))
			}
			waits(t, d, 2*time.Minute)
			if (len(d.repeated) == 1) != (what == lost) {
				t.Errorf("after fault %d: %d events count as possibly repeated", what, len(d.repeated))
			}
		})
	}
}

// slowSink takes its time over a send, and stops early only for its context.
type slowSink struct {
	*process
	takes time.Duration
}

func (s slowSink) Send(ctx context.Context, b uplink.Batch) uplink.Outcome {
	select {
	case <-time.After(s.takes):
		return s.process.Send(ctx, b)
	case <-ctx.Done():
		return uplink.Outcome{Result: uplink.Again, Err: ctx.Err(), Unknown: true}
	}
}

// At the end a send under way may finish, within bounds.
func TestGrace(t *testing.T) {
	for takes, delivered := range map[time.Duration]bool{4 * time.Second: true, 20 * time.Second: false} {
		bubble(t, takes.String(), func(t *testing.T) {
			c, d := newCluster(1), newDisk(10)
			d.put(event(1))
			ctx, cancel := context.WithCancel(t.Context())
			p := &process{disk: d, cluster: c, kill: cancel}
			time.AfterFunc(time.Second, cancel)
			begun := time.Now()
			if err := uplink.NewForwarder(p, slowSink{p, takes}, uplink.ForwarderOptions{Topic: "events"}).Run(ctx); err != nil {
				t.Error(err)
			}
			if took := time.Since(begun); took > 7*time.Second {
				t.Errorf("took %v to stop", took)
			}
			if d.empty() != delivered {
				t.Errorf("delivered: %v, want %v", d.empty(), delivered)
			}
		})
	}
}

// A Sink that never answers is given up on after the timeout.
func TestSilence(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		c, d := newCluster(1), newDisk(10)
		d.put(event(1))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		p := &process{disk: d, cluster: c, kill: cancel}
		f := uplink.NewForwarder(p, slowSink{p, time.Hour}, uplink.ForwarderOptions{Topic: "events", Timeout: 10 * time.Second})
		time.AfterFunc(5*time.Minute, func() {
			if s := f.Status(); s.Connected || s.Lanes[0].Attempts < 5 {
				t.Errorf("%+v", s)
			}
		})
		if err := f.Run(ctx); err != nil {
			t.Error(err)
		}
	})
}
