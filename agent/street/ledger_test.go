package street

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// life is one run of the agent, from its start to the moment it was killed or
// the plant had stopped.
type life struct{ start, end time.Time }

// ledger compares what was injected with what came out. It knows nothing of
// the agent but when it was started and killed.
type ledger struct {
	lives []life
	safe  time.Duration // an anomaly injected this long before a kill may not be lost
}

// entry is one anomaly and the events that told of it.
type entry struct {
	anomaly
	must   bool // exactly once; else at most once
	raised []event
}

// report is what the ledger found.
type report struct {
	entries []entry
	must    int // anomalies that had to come exactly once
	came    int // anomalies that came
	missing []string
	wrong   []string
}

func (r report) String() string {
	return fmt.Sprintf("anomalies injected %d, of them to come exactly once %d, came %d", len(r.entries), r.must, r.came)
}

// audit matches events with anomalies. missing is what may still come while the
// agent runs; wrong can not be mended any more.
func (l ledger) audit(anomalies []anomaly, events []event) report {
	var r report
	for _, a := range anomalies {
		r.entries = append(r.entries, entry{anomaly: a})
	}
	r.wrong = append(r.wrong, repeated(events)...)
	r.match(events)
	l.classify(r.entries)
	for _, e := range r.entries {
		what := fmt.Sprintf("%s on %s from %s to %s", e.severity, e.channel, clock(e.from), clock(e.to))
		switch {
		case e.must && len(e.raised) == 0:
			r.missing = append(r.missing, what+" was never raised; on that channel came "+around(e.from, e.channel, events))
		case len(e.raised) > 1:
			r.wrong = append(r.wrong, fmt.Sprintf("%s was raised %d times: %s; on that channel came %s", what, len(e.raised), ids(e.raised), around(e.from, e.channel, events)))
		case len(e.raised) == 1 && e.raised[0].body.Severity != e.severity:
			r.wrong = append(r.wrong, what+" came as "+e.raised[0].body.Severity)
		}
		if e.must {
			r.must++
		}
		if len(e.raised) > 0 {
			r.came++
		}
	}
	return r
}

func clock(t time.Time) string { return t.UTC().Format("15:04:05.000") }

func ids(events []event) string {
	var list []string
	for _, e := range events {
		list = append(list, fmt.Sprintf("%s for %g at %s (%d/%d)", e.id, e.body.Value, clock(e.time), e.partition, e.offset))
	}
	return strings.Join(list, ", ")
}

// around tells what a channel's events were within five seconds of a time.
func around(at time.Time, channel string, events []event) string {
	var list []string
	for _, e := range events {
		if e.body.Channel == channel && e.time.Sub(at).Abs() < 5*time.Second {
			list = append(list, fmt.Sprintf("%s %s of %s, stored %s", e.body.State, clock(e.time), e.body.AlarmID, clock(e.stored)))
		}
	}
	slices.Sort(list)
	return strings.Join(append(list, "nothing else"), "; ")
}

// repeated finds a ce_id that stands twice in the topic, and a machine whose
// events lie in two partitions.
func repeated(events []event) (wrong []string) {
	seen, home := map[string]event{}, map[string]int32{}
	for _, e := range events {
		if first, ok := seen[e.id]; ok {
			wrong = append(wrong, fmt.Sprintf("ce_id %s stands twice in the topic: partition %d offsets %d and %d", e.id, e.partition, first.offset, e.offset))
		}
		seen[e.id] = e
		if p, ok := home[e.body.Machine]; ok && p != e.partition {
			wrong = append(wrong, fmt.Sprintf("events of %s lie in partitions %d and %d", e.body.Machine, p, e.partition))
		}
		home[e.body.Machine] = e.partition
	}
	return wrong
}

// match gives each raise to its anomaly, by machine, channel and time, and
// follows every alarm from its raise to its one clear.
func (r *report) match(events []event) {
	of := map[string][]*entry{}
	for i := range r.entries {
		e := &r.entries[i]
		of[e.channel] = append(of[e.channel], e)
	}
	cleared := map[string]event{}
	for _, e := range events {
		if e.body.State == "cleared" {
			if _, twice := cleared[e.body.AlarmID]; twice {
				r.wrong = append(r.wrong, "alarm "+e.body.AlarmID+" was cleared twice")
			}
			cleared[e.body.AlarmID] = e
		}
	}
	for _, e := range events {
		if e.body.State != "raised" {
			continue
		}
		i := slices.IndexFunc(of[e.body.Channel], func(a *entry) bool {
			return a.machine == e.body.Machine && !e.time.Before(a.from) && !e.time.After(a.to)
		})
		if i < 0 {
			r.wrong = append(r.wrong, fmt.Sprintf("%s was raised for %s, %g at %s, where nothing was injected", e.id, e.body.Channel, e.body.Value, clock(e.time)))
			continue
		}
		a := of[e.body.Channel][i]
		a.raised = append(a.raised, e)
		end, ok := cleared[e.id]
		switch {
		case e.body.AlarmID != e.id:
			r.wrong = append(r.wrong, fmt.Sprintf("%s was raised as alarm %s: the two are one name", e.id, e.body.AlarmID))
		case !ok:
			r.missing = append(r.missing, "alarm "+e.id+" on "+e.body.Channel+" was never cleared")
		case end.offset < e.offset:
			r.wrong = append(r.wrong, "alarm "+e.id+" was cleared before it was raised")
		}
		delete(cleared, e.id)
	}
	for id, e := range cleared {
		r.missing = append(r.missing, fmt.Sprintf("alarm %s on %s was cleared (partition %d offset %d) and never raised", id, e.body.Channel, e.partition, e.offset))
	}
}

// classify says which anomalies must come exactly once: those injected while
// the agent was known to listen, and the safe time before it was killed. It was
// known to listen from the first anomaly of that life that came out.
func (l ledger) classify(entries []entry) {
	for i, life := range l.lives {
		var listening time.Time
		for _, e := range entries {
			if len(e.raised) > 0 && e.sent.After(life.start) && e.sent.Before(life.end) && (listening.IsZero() || e.sent.Before(listening)) {
				listening = e.sent
			}
		}
		until := life.end
		if i < len(l.lives)-1 {
			until = until.Add(-l.safe)
		}
		for j := range entries {
			e := &entries[j]
			if !listening.IsZero() && !e.sent.Before(listening) && !e.taken.IsZero() && e.taken.Before(until) {
				e.must = true
			}
		}
	}
}

// TestLedger shows that the ledger sees what the other tests ask it to see.
func TestLedger(t *testing.T) {
	start := time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	label := func(channel string, ms int) anomaly {
		return anomaly{machine: "m1", channel: channel, severity: "high", from: at(ms), to: at(ms + 100), sent: at(ms), taken: at(ms + 1)}
	}
	tell := func(id, alarm, state, channel string, ms int) event {
		return event{id: id, time: at(ms), offset: int64(ms), body: body{AlarmID: alarm, State: state, Severity: "high", Machine: "m1", Channel: channel}}
	}
	l := ledger{lives: []life{{at(0), at(5000)}, {at(5100), at(9000)}}, safe: 2 * time.Second}
	// a and b lie in the first life, c in its last two seconds, d in the second life.
	anomalies := []anomaly{label("m1.a", 1000), label("m1.b", 2000), label("m1.c", 4000), label("m1.d", 6000)}
	good := []event{
		tell("1", "1", "raised", "m1.a", 1000), tell("2", "1", "cleared", "m1.a", 1100),
		tell("3", "3", "raised", "m1.b", 2050), tell("4", "3", "cleared", "m1.b", 2100),
		tell("5", "5", "raised", "m1.d", 6000), tell("6", "5", "cleared", "m1.d", 6100),
	}
	if r := l.audit(anomalies, good); len(r.missing)+len(r.wrong) > 0 || r.must != 3 || r.came != 3 {
		t.Fatalf("all is well: %v: %v %v", r, r.missing, r.wrong)
	}
	elsewhere := good[1]
	elsewhere.partition = 2
	graver := good[2]
	graver.body.Severity = "critical"
	for _, c := range []struct {
		name    string
		events  []event
		missing bool
	}{
		{"lost", good[:2:2], true},
		{"lost with its clear", slices.Concat(good[:2], good[4:]), true},
		{"never cleared", good[:5:5], true},
		{"never raised", slices.Concat(good[:4], good[5:]), true},
		{"the same record twice", append(good[:6:6], good[0]), false},
		{"raised twice under two names", append(good[:6:6], tell("7", "7", "raised", "m1.b", 2060), tell("8", "7", "cleared", "m1.b", 2100)), false},
		{"cleared twice", append(good[:6:6], tell("7", "1", "cleared", "m1.a", 1200)), false},
		{"false", append(good[:6:6], tell("7", "7", "raised", "m1.a", 3000), tell("8", "7", "cleared", "m1.a", 3100)), false},
		{"of another machine's partition", slices.Concat(good[:1], []event{elsewhere}, good[2:]), false},
		{"of another severity", slices.Concat(good[:2], []event{graver}, good[3:]), false},
	} {
		r := l.audit(anomalies, c.events)
		if found := r.wrong; c.missing {
			found = r.missing
			if len(found) == 0 {
				t.Errorf("%s: not found missing", c.name)
			}
		} else if len(found) == 0 {
			t.Errorf("%s: not found wrong", c.name)
		}
	}
}
