package uplink

import (
	"cmp"
	"errors"
	"slices"
	"time"
)

// sayEvery is how often the log repeats trouble that goes on.
const sayEvery = time.Hour

// Status says for people how forwarding goes.
type Status struct {
	Topic      string
	Partitions int32     // of the topic; 0 while not known
	Connected  bool      // the last answers of the cluster were good ones
	Since      time.Time // it has been connected, or events are held
	Error      string    // why events are held
	Cure       string    // what a person can do about it; empty: it mends itself
	Delivered  uint64    // records acknowledged since the start
	Buried     uint64    // records that Kafka will never take
	Repeated   uint64    // records that may be in the topic twice, with one ce_id
	Lanes      []LaneStatus
}

// LaneStatus is one partition's part of Status.
type LaneStatus struct {
	Topic     string
	Partition int32
	InFlight  int       // records on their way now
	Since     time.Time // they were taken
	Attempts  int       // to send them that did not succeed
	Error     string    // of the last attempt; empty when it succeeded
	Cure      string
	Delivered uint64
}

// laneStatus is what a lane tells of itself; guarded by Forwarder.mu.
type laneStatus struct {
	records   int
	taken     time.Time
	attempts  int
	trouble   trouble
	delivered uint64
}

// trouble is what stands in the way; the zero value is none.
type trouble struct {
	since time.Time
	out   Outcome
}

// book keeps what the Forwarder tells people; guarded by Forwarder.mu.
type book struct {
	cluster   trouble // of asking for partitions
	answered  bool    // the cluster has answered once
	well      time.Time
	delivered uint64
	buried    uint64
	repeated  uint64
	said      map[string]time.Time // cure → when the log last said it
	loud      bool                 // something was said that is not yet over
}

// Status is safe to call at any time, also before and after Run.
func (f *Forwarder) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Topic: f.o.Topic, Partitions: f.era.partitions,
		Delivered: f.book.delivered, Buried: f.book.buried, Repeated: f.book.repeated,
	}
	for _, l := range f.byLane {
		s.Lanes = append(s.Lanes, LaneStatus{
			Topic: l.topic, Partition: l.partition,
			InFlight: l.status.records, Since: l.status.taken, Attempts: l.status.attempts,
			Error: text(l.status.trouble.out.Err), Cure: l.status.trouble.out.Cure,
			Delivered: l.status.delivered,
		})
	}
	slices.SortFunc(s.Lanes, func(a, b LaneStatus) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	if t := f.worst(); !t.since.IsZero() {
		s.Since, s.Error, s.Cure = t.since, text(t.out.Err), t.out.Cure
	} else {
		s.Connected, s.Since = f.book.answered, f.book.well
	}
	return s
}

// worst is the trouble to show: one that has a cure before one that mends
// itself, then the one that has lasted longest. Called with mu held.
func (f *Forwarder) worst() trouble {
	w := f.book.cluster
	for _, l := range f.byLane {
		t := l.status.trouble
		if t.since.IsZero() {
			continue
		}
		cured, wanted := t.out.Cure != "", w.out.Cure != ""
		if w.since.IsZero() || cured && !wanted || cured == wanted && t.since.Before(w.since) {
			w = t
		}
	}
	return w
}

// taken notes that a batch is on its way.
func (l *lane) taken(b *flight) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.status.records, l.status.taken, l.status.attempts = len(b.Records), time.Now(), 0
}

// delivered notes n records acknowledged, or with 0 a batch given back.
func (l *lane) delivered(n int) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.idle()
	l.status.delivered += uint64(n)
	l.f.book.delivered += uint64(n)
}

// buried notes a record that Kafka will never take; the lane is idle.
func (l *lane) buried(why string) {
	l.f.o.Log.Error("an event was put aside for good", "topic", l.topic, "partition", l.partition, "why", why,
		"cure", "raise max.message.bytes of the topic; the event is kept in the dead-letter bucket")
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.idle()
	l.f.book.buried++
}

// idle: nothing is in flight. Called with mu held.
func (l *lane) idle() {
	l.status = laneStatus{trouble: l.status.trouble, delivered: l.status.delivered}
}

// repeated notes n records that may be in the topic twice.
func (l *lane) repeated(n int) {
	l.f.o.Log.Warn("events may be in the topic twice, with the same ce_id", "topic", l.topic, "partition", l.partition, "events", n)
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	l.f.book.repeated += uint64(n)
}

// trouble notes how an exchange for the lane ended. attempt counts from 0.
func (l *lane) trouble(attempt int, out Outcome) {
	l.f.mu.Lock()
	defer l.f.mu.Unlock()
	if l.status.records > 0 && out.Result != Acknowledged {
		l.status.attempts = attempt + 1
	}
	l.f.note(&l.status.trouble, attempt, out)
}

// cluster notes how asking the cluster ended.
func (f *Forwarder) cluster(attempt int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := Outcome{}
	if err != nil {
		out = asOutcome(err)
	}
	f.note(&f.book.cluster, attempt, out)
}

// disk says that the Spool failed. It is the Spool's to show as its own
// trouble; here it only explains why nothing moves.
func (f *Forwarder) disk(attempt int, what string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.say(attempt, Outcome{Result: Hold, Err: err, Cure: "look at the disk: " + what})
}

// note updates one trouble and logs what is new. Called with mu held.
func (f *Forwarder) note(t *trouble, attempt int, out Outcome) {
	if out.Result == Acknowledged || out.Result == TooLarge {
		f.book.answered = true
		if t.since.IsZero() {
			if f.book.well.IsZero() {
				f.book.well = time.Now()
			}
			return
		}
		held := time.Since(t.since)
		*t = trouble{}
		f.relieve()
		if f.worst().since.IsZero() {
			f.book.well = time.Now()
			if f.book.loud {
				f.book.loud = false
				f.o.Log.Info("Kafka takes events again", "topic", f.o.Topic, "held", held.Round(time.Second))
			}
		}
		return
	}
	if t.since.IsZero() {
		t.since = time.Now()
	}
	t.out = out
	if f.say(attempt, out) {
		f.book.loud = true
	}
}

// say logs trouble: what a person must cure at once, what may pass by itself
// only when it has not after a few attempts; either once, and then rarely.
// It reports whether it did. Called with mu held.
func (f *Forwarder) say(attempt int, out Outcome) bool {
	if out.Result != Hold && attempt < 4 {
		return false
	}
	if last, ok := f.book.said[out.Cure]; ok && time.Since(last) < sayEvery {
		return false
	}
	f.book.said[out.Cure] = time.Now()
	f.o.Log.Warn("events are held", "topic", f.o.Topic, "error", out.Err, "cure", out.Cure)
	return true
}

// forget drops a lane that has nothing left to do.
func (f *Forwarder) forget(l *lane) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.byLane, l.place)
}

// asOutcome makes an error of Partitions or Producer an Outcome.
func asOutcome(err error) Outcome {
	var out Outcome
	if errors.As(err, &out) && out.Result != Acknowledged {
		return out
	}
	return Outcome{Result: Again, Err: err}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
