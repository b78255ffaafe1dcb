// Package alarms turns findings into alarm events after ISA-18.2: raised,
// updated while it goes on, cleared. One alarm belongs to one channel and one
// class, whatever number of detectors agree on it, and every event carries the
// identity that the raise gave it.
//
// Nothing here is safe for concurrent use: one goroutine judges and tells.
package alarms

import (
	"time"

	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// Class keeps apart what is wrong with the process and what is wrong with the
// sensor that watches it.
type Class uint8

// The two classes.
const (
	Process Class = iota
	Sensor
	Classes
)

var classNames = [Classes]string{"process", "sensor"}

func (c Class) String() string { return classNames[c] }

// ClassOf is the class of what a detector with these traits finds.
func ClassOf(t detectors.Traits) Class {
	if t.Status != detectors.Normal {
		return Sensor
	}
	return Process
}

// Channel is what events say of a channel. Read-only once its first finding came.
type Channel struct {
	sensors.Channel
	Machine string // the part of the name before its last dot; empty where there is none
	Key     string // the machine's path, or the device's where there is no machine
}

// Finding is what the detectors of one class say of one moment of one channel.
type Finding struct {
	Time    int64   // of the reading, nanoseconds since 1970 UTC on the steady clock, or the device's
	Own     bool    // Time and Seen are the device's own: no step of the gateway's clock moves them
	Value   float64 // the reading; the last one where nothing arrives
	Seen    int64   // when the last reading was taken; differs from Time where nothing arrives
	Quality sensors.Quality
	Verdict detectors.Verdict
	Traits  detectors.Traits // of the detector that speaks
	Hold    time.Duration    // an alarm it speaks for is cleared only after this long without a finding
}

// Settings are the operator's decisions about the life of an alarm.
type Settings struct {
	Update  time.Duration // an alarm that goes on is told of again this often; 0: at every finding
	ReAlarm time.Duration // an alarm back sooner than this after it was cleared waits until then
	Clear   time.Duration // cleared after this long without a finding
}

// Alarm is the life of one alarm, over and over. The zero Alarm is at rest, as
// nearly all are: then it is small.
type Alarm struct {
	*raised                       // nil at rest
	cleared    int64              // when it was last cleared
	suppressed uint32             // findings held back since the last event
	had        detectors.Severity // when it was last cleared
}

// raised is what is known of an active alarm.
type raised struct {
	id       uint64 // sequence of the record that raised it
	epoch    uint64 // of that sequence: the buffer may have had to take another since
	device   string // that raised it: the gateway may have been renamed since
	severity detectors.Severity
	since    moment
	told     int64 // time of its newest event
	quiet    int64 // since when nothing was found; 0 while something is
	last     Finding
}

// moment is when something happened, nanoseconds since 1970 UTC.
type moment struct {
	at int64
	// fixed says that it is a wall time to be told as it stands, a device's or an
	// earlier run's; else it is of this process's steady clock.
	fixed bool
}

func (f *Finding) moment() moment { return moment{f.Time, f.Own} }

// wall is the wall time of the moment, as it is known now.
func (m moment) wall(now clock.Reading) int64 {
	if m.fixed {
		return m.at
	}
	return now.Wall(m.at)
}

// Active reports whether the alarm is raised and not yet cleared.
func (a *Alarm) Active() bool { return a.raised != nil }

// Last is the newest finding of an active alarm, the zero Finding at rest. After a
// restart it has value, time, traits, reason and what was expected.
func (a *Alarm) Last() (f Finding) {
	if a.Active() {
		f = a.last
	}
	return f
}

// Emit takes an event's record and the alarm state to be committed with it. It
// may block: that is the street's back-pressure.
type Emit func(r uplink.Record, state uplink.Entry)

// Bell gives every event its number and its words. It is the only writer of
// sequence numbers.
type Bell struct {
	settings Settings
	origin   Origin
	epoch    uint64
	next     uint64 // sequence of the next record
	emit     Emit
	buf      []byte
}

// Origin is what every event says of where it comes from.
type Origin struct {
	Device  string
	Site    string       // path of the site, "acme/plant3/press-shop"; may be empty
	Source  string       // ce_source
	Version string       // of tocsin
	Boot    string       // id of this boot of the kernel; empty where it has none
	Clock   *clock.Clock // nil: the kernel's
}

// NewBell makes a bell whose first record carries the sequence next of the epoch.
func NewBell(s Settings, o Origin, epoch, next uint64, emit Emit) *Bell {
	if o.Clock == nil {
		o.Clock = clock.New()
	}
	return &Bell{settings: s, origin: o, epoch: epoch, next: next, emit: emit}
}

// Set changes the settings, from the next finding on.
func (b *Bell) Set(s Settings) { b.settings = s }

// Find moves the alarm of one class of a channel on by one finding and tells of
// it where there is news. At rest, findings below the line need not be given.
func (b *Bell) Find(c *Channel, class Class, a *Alarm, f Finding) {
	found := f.Verdict.Score >= detectors.Line
	switch {
	case found && !a.Active():
		b.begin(c, class, a, f)
	case found:
		a.quiet, a.last = 0, f
		graver := severity(f) > a.severity
		if graver {
			a.severity = severity(f)
		}
		if graver || elapsed(a.told, f.Time, b.settings.Update) {
			b.tell(c, class, a, f, uplink.Updated)
		} else {
			a.suppressed++
		}
	case a.Active():
		if before := a.last.Time - f.Time; before > 0 && before < int64(late) {
			return // from before the newest finding, late or again: it says nothing of now
		}
		if a.quiet == 0 {
			a.quiet = f.Time
		}
		if !elapsed(a.quiet, f.Time, max(b.settings.Clear, a.last.Hold)) {
			return
		}
		f.Traits, f.Verdict.Reason = a.last.Traits, a.last.Verdict.Reason
		b.tell(c, class, a, f, uplink.Cleared)
	}
}

// late is how far a reading may lie before the alarm's last clear to be taken
// for one that came late, or again, and not for a device's clock that stepped
// back; the gateway's own never does, see sensors.Steady.
const late = time.Minute

// begin raises, unless the reading is older than the alarm's last clear, or the
// alarm was cleared too short a time ago and is no graver than it was then: if it
// lasts, it is raised when that time is over.
func (b *Bell) begin(c *Channel, class Class, a *Alarm, f Finding) {
	s := severity(f)
	before := a.cleared - f.Time
	soon := s <= a.had && !elapsed(a.cleared, f.Time, b.settings.ReAlarm)
	if a.cleared != 0 && (soon || before > 0 && before < int64(late)) {
		a.suppressed++
		return
	}
	a.raised = &raised{id: b.next, epoch: b.epoch, device: b.origin.Device, severity: s, since: f.moment(), last: f}
	b.tell(c, class, a, f, uplink.Raised)
}

// SeverityOf is the severity of a verdict: its own where it names one.
func SeverityOf(v detectors.Verdict, t detectors.Traits) detectors.Severity {
	if v.Severity != detectors.None {
		return v.Severity
	}
	return t.Severity
}

func severity(f Finding) detectors.Severity { return SeverityOf(f.Verdict, f.Traits) }

// elapsed reports whether d has passed between two times of readings. A device
// whose clock stepped back by more than d must not hold an alarm for ever: it
// counts as passed. A reading that is only late does not.
func elapsed(from, to int64, d time.Duration) bool {
	return to-from >= int64(d) || to-from <= -int64(d)
}

// tell makes the event, commits it to the street together with the alarm's new
// state and moves the alarm on.
func (b *Bell) tell(c *Channel, class Class, a *Alarm, f Finding, s uplink.State) {
	now := b.origin.Clock.Read()
	r := uplink.Record{
		Epoch: b.epoch, Seq: b.next, Alarm: a.id, State: s, Severity: a.severity, Time: f.moment().wall(now),
		Device: b.origin.Device, Source: b.origin.Source, Type: eventType(class, s),
		Subject: c.Name, Key: c.Key,
	}
	b.next++
	b.buf = b.appendBody(b.buf[:0], now, &r, c, class, a, f)
	r.Body = append([]byte(nil), b.buf...)
	a.told, a.suppressed = f.Time, 0
	key := stateKey(c.Name, class)
	if s == uplink.Cleared {
		*a = Alarm{cleared: f.Time, had: a.severity}
		b.emit(r, uplink.Entry{Key: key})
		return
	}
	b.emit(r, uplink.Entry{Key: key, Value: a.appendState(nil, now)})
}

var eventTypes = [Classes][4]string{
	Process: {"", "tocsin.alarm.raised.v1", "tocsin.alarm.updated.v1", "tocsin.alarm.cleared.v1"},
	Sensor:  {"", "tocsin.sensor.raised.v1", "tocsin.sensor.updated.v1", "tocsin.sensor.cleared.v1"},
}

func eventType(c Class, s uplink.State) string { return eventTypes[c][s] }
