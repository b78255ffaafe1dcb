package health

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"tocsin/agent/clock"
	"tocsin/sensors"
)

// Agent is what a Monitor is told of the agent at its making.
type Agent struct {
	Version string
	Boot    string // boot id of the kernel
	Clock   *clock.Clock
	// Look says what the agent's parts say of themselves now. What a Monitor fills
	// in stays zero.
	Look func() Status
	// Certificates names the gateway's own certificate files; nil: it has none.
	Certificates func() []string
}

// Monitor completes what the agent says of itself with what has to be
// remembered between two looks, and judges it. Safe for concurrent use.
type Monitor struct {
	agent    Agent
	instance string
	started  time.Time

	mu       sync.Mutex
	state    string
	down     map[string]time.Time // source → since when, through all attempts
	since    map[string]time.Time // reason and its source → when it was first seen
	minutes  []minute             // of the last hour, oldest first
	guard    guard
	sent     Sent
	expires  *time.Time // the first of the certificates to do so
	expiring string     // its file
}

// minute is what is counted, as it stood then.
type minute struct {
	at             time.Time
	usage          Usage
	appended, lost uint64
	overrun        map[string]uint64 // readings dropped, by source
}

// NewMonitor begins to count; the agent is starting until Become is called.
func NewMonitor(a Agent) *Monitor {
	id := make([]byte, 8)
	_, _ = rand.Read(id) // never fails, or the process ends (crypto/rand)
	m := &Monitor{agent: a, instance: hex.EncodeToString(id), started: time.Now(), state: Starting,
		down: map[string]time.Time{}, since: map[string]time.Time{}}
	m.guard.me = newNote(m.instance, a.Boot)
	return m
}

// states are in the order in which an agent passes through them.
func states() []string { return []string{Starting, Running, Stopping, Stopped} }

// Become says that the agent is now Running, Stopping or Stopped. It never goes
// back.
func (m *Monitor) Become(state string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if all := states(); slices.Index(all, state) > slices.Index(all, m.state) {
		m.state = state
	}
}

// anew forgets who else has this device's name, which is now another.
func (m *Monitor) anew() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guard = guard{me: m.guard.me}
}

// Status is how the agent fares now. It reads /proc and the certificates, which
// takes a fraction of a millisecond.
func (m *Monitor) Status() Status {
	s := m.agent.Look()
	s.Usage = measure()
	if m.agent.Certificates != nil {
		at, file := expiry(m.agent.Certificates())
		m.mu.Lock()
		m.expires, m.expiring = at, file
		m.mu.Unlock()
	}
	m.complete(&s)
	return s
}

// glance is Status without what is read from files, except once a minute.
func (m *Monitor) glance() Status {
	m.mu.Lock()
	n := len(m.minutes)
	due := n == 0 || time.Since(m.minutes[n-1].at) >= time.Minute
	m.mu.Unlock()
	if due {
		return m.Status()
	}
	s := m.agent.Look()
	m.complete(&s)
	return s
}

// complete fills in what Look left open.
func (m *Monitor) complete(s *Status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, up := time.Now(), clock.Uptime()
	wall, _ := m.agent.Clock.Now()
	s.Version, s.Instance, s.Boot, s.State, s.Started, s.SentAt = m.agent.Version, m.instance, m.agent.Boot, m.state, m.started, now
	s.Clock = Clock{Trust: m.agent.Clock.Trust().String(), Uptime: up.Seconds(), Zero: wall.Add(-up).UTC()}
	s.Kafka.Rival, s.Kafka.Unguarded = m.guard.rival, m.guard.unguarded
	s.Config.Expires, s.Config.Certificate = m.expires, m.expiring
	s.Reports = m.sent
	m.watchSources(s, now)
	m.remember(s, now)
	judge(s, now)
	m.date(s, now)
	s.tell(wall, now)
}

// tell makes wall times of all that this process has noted: what it noted while
// its clock was not set would be told wrong for ever. wall is now, as the clock
// has it.
func (s *Status) tell(wall, now time.Time) {
	tell := func(at *time.Time) {
		if !at.IsZero() {
			*at = wall.Add(at.Sub(now)) // by the monotonic clock
		}
	}
	copied := func(at *time.Time) *time.Time {
		if at == nil {
			return nil
		}
		told := *at
		tell(&told)
		return &told
	}
	tell(&s.Started)
	tell(&s.SentAt)
	tell(&s.Kafka.Since)
	s.Config.Loaded, s.Reports.Since = copied(s.Config.Loaded), copied(s.Reports.Since)
	if s.Kafka.Rival != nil {
		rival := *s.Kafka.Rival
		tell(&rival.Since)
		s.Kafka.Rival = &rival
	}
	for i := range s.Reasons {
		tell(&s.Reasons[i].Since)
	}
	for name, src := range s.Sources {
		tell(&src.Since)
		src.Down = copied(src.Down)
		s.Sources[name] = src
	}
}

// wellAfter is how long a source must run to be up again: longer than an attempt
// to connect may take to fail.
const wellAfter = 15 * time.Second

// watchSources notes since when each source is down: one that is tried again
// every minute runs for a moment each time. Called with mu held.
func (m *Monitor) watchSources(s *Status, now time.Time) {
	for name, src := range s.Sources {
		since, down := m.down[name]
		ran := now.Sub(src.Since)
		reads := src.Latest != nil && *src.Latest < ran.Seconds()
		switch {
		case src.State == "waiting" && !down:
			since, down = src.Since, true
		case src.State == "running" && (reads || ran >= wellAfter), src.State == "ended", src.State == "stopped":
			down = false
		}
		delete(m.down, name)
		if down {
			m.down[name], src.Down = since, &since
			s.Sources[name] = src
		}
	}
	maps.DeleteFunc(m.down, func(name string, _ time.Time) bool { _, is := s.Sources[name]; return !is })
}

// remember counts over the last hour. Called with mu held.
func (m *Monitor) remember(s *Status, now time.Time) {
	this := minute{at: now, usage: s.Usage, appended: s.Buffer.Appended, lost: s.Buffer.Lost(), overrun: map[string]uint64{}}
	for name, src := range s.Sources {
		this.overrun[name] = src.Refused[sensors.QueueFull.String()]
	}
	measured := s.Usage != Usage{}
	if n := len(m.minutes); n == 0 || measured && now.Sub(m.minutes[n-1].at) >= time.Minute {
		m.minutes = append(m.minutes, this)
	}
	for len(m.minutes) > 2 && now.Sub(m.minutes[0].at) > time.Hour {
		m.minutes = slices.Delete(m.minutes, 0, 1)
	}
	first := m.minutes[0]
	s.Buffer.DroppedHour = this.lost - min(first.lost, this.lost)
	for name, src := range s.Sources {
		// A source that was not there then has counted from 0.
		src.overrun = this.overrun[name] - min(first.overrun[name], this.overrun[name])
		s.Sources[name] = src
	}
	s.Buffer.Lasts = lasts(s, this, first)
	if measured {
		s.Usage.rates(m.minutes, now)
	}
}

// lasts is how long the buffer's room, up to where it begins to drop, takes what
// is made; nil where that cannot be said.
func lasts(s *Status, now, first minute) *float64 {
	const enough = 100 // events, to tell how large one is
	b, seconds := s.Buffer, now.at.Sub(first.at).Seconds()
	if s.Kafka.Error == "" || b.MaxBytes == 0 || b.Waiting < enough || seconds < 60 || now.appended <= first.appended {
		return nil
	}
	room := max(0, 0.9*float64(b.MaxBytes)-float64(b.Bytes))
	perSecond := float64(now.appended-first.appended) / seconds
	left := room / (perSecond * float64(b.Bytes) / float64(b.Waiting))
	return &left
}

// date fills in since when each reason holds. Called with mu held.
func (m *Monitor) date(s *Status, now time.Time) {
	held := map[string]time.Time{}
	for i := range s.Reasons {
		r := &s.Reasons[i]
		key := r.What + " " + r.Source
		if r.Since.IsZero() {
			r.Since = now
			if since, before := m.since[key]; before {
				r.Since = since
			}
		}
		held[key] = r.Since
	}
	m.since = held
}

// signature is what a change of is worth a record at once.
func (s *Status) signature() string {
	var b strings.Builder
	fmt.Fprint(&b, s.State, s.Health, s.Config.Hash, s.Config.Refused, s.Kafka.Connected, s.Clock.Trust)
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		src := s.Sources[name]
		fmt.Fprint(&b, " ", name, " ", src.State == "ended", src.Down != nil)
	}
	for _, r := range s.Reasons {
		fmt.Fprint(&b, " ", r.What, " ", r.Source)
	}
	return b.String()
}
