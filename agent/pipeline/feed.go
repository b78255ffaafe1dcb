package pipeline

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/uplink"
)

// Stream is what somebody at the centre asks for: the scores, or the readings.
type Stream struct {
	Topic string
	Every time.Duration             // length of a window; windows begin at multiples of it since 1970 UTC
	Wants func(channel string) bool // asked once a channel; nil: all of them
}

// FeedOptions say what is fed to whom.
type FeedOptions struct {
	Scores, Samples *Stream // nil: not wanted
	Publisher       uplink.Publisher
	Origin          alarms.Origin // what every message says of where it comes from
	Log             *slog.Logger
}

// Feed gathers scores and readings in windows of time for whoever wants them at
// the centre, best effort: nothing waits for it, and what it cannot deliver is
// dropped and counted.
//
// The judge fills it and closes the windows; Run, on a goroutine a stream,
// makes messages of them. Between the two stand rows, one a channel and window,
// whose number is bounded.
type Feed struct {
	samples *stream[samples] // nil: not wanted
	scores  *stream[scores]
	ended   context.Context // done when the judge has given its last row
	end     context.CancelFunc
}

// NewFeed makes a feed; Run publishes what it gathers. Nil where nothing is wanted.
func NewFeed(o FeedOptions) *Feed {
	if o.Samples == nil && o.Scores == nil {
		return nil
	}
	if o.Origin.Clock == nil {
		o.Origin.Clock = clock.New()
	}
	f := &Feed{}
	f.ended, f.end = context.WithCancel(context.Background())
	var instance [8]byte
	_, _ = rand.Read(instance[:]) // never fails (crypto/rand)
	id := hex.EncodeToString(instance[:])
	if o.Samples != nil {
		f.samples = newStream(*o.Samples, newSender(o, *o.Samples, "samples", id), (*samples).finish, appendSamples)
	}
	if o.Scores != nil {
		f.scores = newStream(*o.Scores, newSender(o, *o.Scores, "scores", id), (*scores).finish, appendScores)
	}
	return f
}

// member is a channel in a feed. What the publishing goroutine reads of it never
// changes.
type member struct {
	feed    *Feed
	samples *slot[samples] // nil: not wanted of this channel
	scores  *slot[scores]

	channel alarms.Channel
	names   []string // of its detectors
	head    []byte   // how its rows begin in JSON
}

// join decides what is gathered of a channel: when its first reading comes, or
// the first after the feed was replaced.
func (f *Feed) join(w *watch) *member {
	m := &member{feed: f, channel: w.Channel, names: make([]string, 0, len(w.traits))}
	for _, t := range w.traits {
		m.names = append(m.names, t.Name)
	}
	head, err := json.Marshal(struct {
		Channel string `json:"channel"`
		Unit    string `json:"unit"`
	}{w.Channel.Name, w.Channel.Unit})
	if err == nil { // two strings: always
		m.head = head[:len(head)-1]
	}
	m.samples = f.samples.join(w, m)
	m.scores = f.scores.join(w, m)
	w.member = m
	return m
}

// add takes one judged reading with the verdicts that speak for its classes;
// best holds the index of the detector of each, -1 for none. 0 allocations.
func (f *Feed) add(w *watch, at int64, value float64, best *[alarms.Classes]int, verdicts *[alarms.Classes]detectors.Verdict) {
	m := w.member
	if m == nil || m.feed != f {
		m = f.join(w)
	}
	if s := m.samples; s != nil {
		if uint64(at-s.from) >= s.length {
			f.samples.turn(s, at, w.arrived)
		}
		s.window.add(at, value, value >= w.Low && value <= w.High)
	}
	if s := m.scores; s != nil {
		if uint64(at-s.from) >= s.length {
			f.scores.turn(s, at, w.arrived)
		}
		s.window.add(best, verdicts)
	}
}

// tick closes the windows of channels that fell silent. now is on the arrival
// clock.
func (f *Feed) tick(now int64) {
	if f != nil {
		f.samples.tick(now)
		f.scores.tick(now)
	}
}

// leave closes the windows of a channel that is judged no more, or from now on
// by other detectors.
func (f *Feed) leave(w *watch) {
	if f != nil && w.member != nil && w.member.feed == f {
		f.samples.leave(w.member.samples)
		f.scores.leave(w.member.scores)
		w.member = nil
	}
}

// finish closes every window: nothing more will be added, and Run ends by itself.
func (f *Feed) finish() {
	if f != nil {
		f.samples.closeAll()
		f.scores.closeAll()
		f.end()
	}
}

// replaceFeed ends the feed and begins another; nil is none. For the judge's own
// goroutine, as everything above.
func (j *Judge) replaceFeed(next *Feed) {
	j.Feed.finish()
	j.Feed = next
}

// Feed ends the feed, whose last windows are sent, and begins another; nil is
// none. It fails once the street stops.
func (s *Street) Feed(next *Feed) error {
	s.mu.Lock()
	s.fed, s.feed = true, next
	s.mu.Unlock()
	if err := s.Queue.Then(func() { s.Judge.replaceFeed(next) }); err != nil {
		return err
	}
	if next != nil {
		s.Start(next.Run)
	}
	return nil
}

// Feeding is the statistics of the feed of the time.
func (s *Street) Feeding() map[string]FeedStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fed {
		return s.feed.Stats()
	}
	return s.Judge.Feed.Stats()
}
