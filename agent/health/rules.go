package health

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/detectors"
)

// Level is the one word for everything.
type Level uint8

// The levels, in order.
const (
	OK       Level = iota // all is done that the agent is there for
	Degraded              // it is done, and somebody should look
	Failed                // part of it is not done
)

var levelNames = [...]string{"ok", "degraded", "failed"}

func (l Level) String() string { return levelNames[l] }

// MarshalText writes the word.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText is its inverse.
func (l *Level) UnmarshalText(text []byte) error {
	i := slices.Index(levelNames[:], string(text))
	if i < 0 {
		return fmt.Errorf("read a level of health: %q is none of %v", text, levelNames)
	}
	*l = Level(i)
	return nil
}

// Reason is one thing that keeps the health from being ok.
type Reason struct {
	What    string    `json:"what"`             // a word that stays the same: "kafka_holding"
	Source  string    `json:"source,omitempty"` // that it concerns
	Level   Level     `json:"level"`
	NE107   string    `json:"ne107"` // as NAMUR NE 107 sorts it
	Since   time.Time `json:"since"`
	Problem string    `json:"problem"`
	Cure    string    `json:"cure,omitempty"` // what a person can do; empty: it mends itself
}

// Bounds of the rules.
const (
	downFor    = 30 * time.Second    // a source or the cluster may be away without a word
	standsFor  = 30 * time.Second    // the judge, which comes round each second
	fullAt     = 0.8                 // of the buffer; at 0.9 it begins to drop
	expiryNear = 14 * 24 * time.Hour // time enough to have a certificate renewed
)

// rule is one row of the table: when says whether it holds and fills Since,
// Problem, Cure and Source; with a zero Since it has held since it was first seen.
type rule struct {
	what  string
	level Level
	ne107 detectors.NE107
	when  func(s *Status, now time.Time) []Reason
}

// rules are all that can be wrong, the gravest first. What is only a matter of
// one source or of the way to the centre is degraded: nothing is lost by it yet.
func rules() []rule {
	return []rule{
		{"judge_stands", Failed, detectors.Failure, judgeStands},
		{"disk_trouble", Failed, detectors.Failure, diskTrouble},
		{"all_sources_down", Failed, detectors.Failure, allDown},
		{"other_agent", Failed, detectors.Failure, otherAgent},
		{"events_dropped", Failed, detectors.Failure, dropped},
		{"source_down", Degraded, detectors.OutOfSpecification, sourceDown},
		{"readings_dropped", Degraded, detectors.OutOfSpecification, overload},
		{"kafka_holding", Degraded, detectors.OutOfSpecification, holding},
		{"buffer_filling", Degraded, detectors.MaintenanceRequired, filling},
		{"clock_unset", Degraded, detectors.OutOfSpecification, clockUnset},
		{"configuration_refused", Degraded, detectors.MaintenanceRequired, refused},
		{"certificate_expires", Degraded, detectors.MaintenanceRequired, expires},
		{"forgets", Degraded, detectors.MaintenanceRequired, forgets},
		{"status_not_sent", Degraded, detectors.MaintenanceRequired, notSent},
	}
}

// judge fills in Health, NE107 and Reasons.
func judge(s *Status, now time.Time) {
	s.Health, s.NE107, s.Reasons = OK, detectors.Normal.String(), []Reason{}
	for _, r := range rules() {
		for _, reason := range r.when(s, now) {
			reason.What, reason.Level, reason.NE107 = r.what, r.level, r.ne107.String()
			s.Reasons = append(s.Reasons, reason)
		}
	}
	if len(s.Reasons) > 0 {
		s.Health, s.NE107 = s.Reasons[0].Level, s.Reasons[0].NE107
	}
}

func one(since time.Time, problem, cure string) []Reason {
	return []Reason{{Since: since, Problem: problem, Cure: cure}}
}

func ago(seconds float64, now time.Time) time.Time {
	return now.Add(-time.Duration(seconds * float64(time.Second)))
}

func judgeStands(s *Status, now time.Time) []Reason {
	if s.State != Running || s.Judge.Idle < standsFor.Seconds() {
		return nil
	}
	return one(ago(s.Judge.Idle, now), "the detectors stand still: nothing is judged", "see disk_trouble if it is there; else restart the agent and send its log")
}

func diskTrouble(s *Status, _ time.Time) []Reason {
	if s.Trouble == "" {
		return nil
	}
	return one(time.Time{}, fmt.Sprintf("the disk takes no events, %d wait in memory: %s", s.Pending, s.Trouble),
		"make room on the disk of [spool] dir, mount it writable, or replace it")
}

// downSince is when a source went down, and whether that is long enough ago.
func (s Source) downSince(now time.Time) (time.Time, bool) {
	if s.Down == nil || now.Sub(*s.Down) <= downFor {
		return time.Time{}, false
	}
	return *s.Down, true
}

func allDown(s *Status, now time.Time) []Reason {
	if len(s.Sources) == 0 {
		return nil
	}
	var latest time.Time
	for _, src := range s.Sources {
		since, down := src.downSince(now)
		if !down {
			return nil
		}
		if since.After(latest) {
			latest = since
		}
	}
	return one(latest, "no source can be read: no machine is watched", "see each source below; if all went at once, look at the gateway's network")
}

func sourceDown(s *Status, now time.Time) []Reason {
	var down []Reason
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		src := s.Sources[name]
		if since, is := src.downSince(now); is {
			problem := src.Error
			if problem == "" {
				problem = "it is being tried again"
			}
			down = append(down, Reason{Source: name, Since: since, Problem: "cannot be read: " + problem,
				Cure: "check its device and cable; tocsin check --live tries it"})
		}
	}
	return down
}

func otherAgent(s *Status, _ time.Time) []Reason {
	r := s.Kafka.Rival
	if r == nil {
		return nil
	}
	return one(r.Since, fmt.Sprintf("another agent, on host %s, sends as device %s too", r.Host, s.Device), "give one of them another [site] device")
}

func dropped(s *Status, _ time.Time) []Reason {
	if s.Buffer.DroppedHour == 0 {
		return nil
	}
	return one(time.Time{}, fmt.Sprintf("%d events were dropped from the buffer within the hour", s.Buffer.DroppedHour),
		"let Kafka take them again, or raise [spool] max_size or max_age")
}

func overload(s *Status, _ time.Time) []Reason {
	var over []Reason
	for _, name := range slices.Sorted(maps.Keys(s.Sources)) {
		if n := s.Sources[name].overrun; n > 0 {
			over = append(over, Reason{Source: name, Problem: fmt.Sprintf("%d readings came faster than they could be judged within the hour and were dropped", n),
				Cure: "read fewer channels or less often, raise [agent] buffer, or use qos 1"})
		}
	}
	return over
}

func holding(s *Status, now time.Time) []Reason {
	k := s.Kafka
	switch {
	case k.Error != "":
		return one(k.Since, "Kafka takes no events, they are kept in the buffer: "+k.Error, k.Cure)
	case !k.Connected && s.State == Running && now.Sub(s.Started) > downFor:
		return one(s.Started, "Kafka has not answered yet, events are kept in the buffer", "check the network and [kafka] brokers")
	}
	return nil
}

func filling(s *Status, _ time.Time) []Reason {
	b := s.Buffer
	if b.MaxBytes == 0 || float64(b.Bytes) < fullAt*float64(b.MaxBytes) {
		return nil
	}
	return one(time.Time{}, fmt.Sprintf("the buffer is %.0f %% full", 100*float64(b.Bytes)/float64(b.MaxBytes)),
		"let Kafka take the events, or raise [spool] max_size; from 90 % on the least severe are dropped")
}

func clockUnset(s *Status, _ time.Time) []Reason {
	if s.Clock.Trust != "unset" {
		return nil
	}
	return one(time.Time{}, "the gateway's clock is not set: the times of readings and events are wrong", "set it, or let NTP do so: timedatectl")
}

func refused(s *Status, _ time.Time) []Reason {
	if s.Config.Refused == "" {
		return nil
	}
	return one(time.Time{}, "a newer configuration is refused, the one before stays: "+firstMistake(s.Config.Refused), "mend the file; tocsin check tells all that is wrong")
}

// firstMistake is the first line of what is wrong in a file, and how many follow:
// below each stand the line and its cure, indented (config.Error).
func firstMistake(all string) string {
	first, rest, _ := strings.Cut(all, "\n")
	more := 0
	for line := range strings.Lines(rest) {
		if !strings.HasPrefix(line, " ") {
			more++
		}
	}
	if more > 0 {
		first += fmt.Sprintf(" (and %d more)", more)
	}
	return first
}

func expires(s *Status, now time.Time) []Reason {
	at := s.Config.Expires
	if at == nil || s.Clock.Trust == "unset" || at.Sub(now) > expiryNear {
		return nil
	}
	word := "expires"
	if at.Before(now) {
		word = "expired"
	}
	return one(time.Time{}, fmt.Sprintf("the certificate %s %s on %s", s.Config.Certificate, word, at.UTC().Format(time.DateOnly)),
		"renew it; it is read again by itself")
}

func forgets(s *Status, _ time.Time) []Reason {
	if !s.Judge.Forgets {
		return nil
	}
	return one(s.Started, "what the detectors learn will be lost at the next restart", "see the agent's log for what is wrong with state.db in [spool] dir")
}

// notSent is told only where a person must act: while Kafka is away, so is the
// topic of the status.
func notSent(s *Status, _ time.Time) []Reason {
	if s.Reports.Since == nil || s.Reports.Cure == "" || s.Kafka.Error != "" {
		return nil
	}
	return one(*s.Reports.Since, "the centre does not get this status: "+s.Reports.Error, s.Reports.Cure)
}

// Summary is the health with its reasons, a line each.
func (s *Status) Summary() string {
	var b strings.Builder
	b.WriteString(s.Health.String())
	for _, r := range s.Reasons {
		fmt.Fprintf(&b, "\n%s: %s", r.Level, r)
	}
	return b.String()
}

// String is the reason in one line, without its cure.
func (r Reason) String() string {
	if r.Source == "" {
		return r.Problem
	}
	return r.Source + " " + r.Problem
}
