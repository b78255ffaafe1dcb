package pipeline

import (
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// slack is how much longer than its window a silent channel is waited for: what
	// is under way may still belong to it.
	slack = 2 * time.Second
	// backward is how far a reading may lie before the present window to be taken
	// for a late one, and not for a clock that stepped back. A window, if longer.
	backward = time.Minute
	// rowsWaiting and two of every channel are how many rows wait for Run at most.
	rowsWaiting = 8192
	// farthest bounds the times that windows are made of, so that none overflows.
	farthest = 1 << 62
)

// stream is one of a feed's two: its windows, which are the judge's, and the
// rows of those that have closed, which wait for Run. A nil stream gathers
// nothing.
type stream[W any] struct {
	sender
	every  time.Duration
	wants  func(channel string) bool
	finish func(*W, *watch)             // takes in what is known only at the end
	write  func([]byte, *row[W]) []byte // appends a row in JSON
	slots  []*slot[W]

	mu      sync.Mutex
	waiting []row[W]
	stopped bool          // Run has returned
	news    chan struct{} // holds one when there is something new in waiting
}

// slot is one channel's place in a stream. Owned by the judge.
type slot[W any] struct {
	from   int64  // the present window's begin, ns since 1970 UTC
	length uint64 // of it, ns; 0 while none is open
	window W
	next   int64  // end of the window before
	due    int64  // when the window closes by itself, on the arrival clock
	late   uint32 // readings that belong before it
	index  int32  // in slots
	watch  *watch
	member *member
}

// row is what one channel gave in one window.
type row[W any] struct {
	from   int64
	late   uint32
	window W
	member *member
}

func newStream[W any](o Stream, s sender, finish func(*W, *watch), write func([]byte, *row[W]) []byte) *stream[W] {
	return &stream[W]{sender: s, every: o.Every, wants: o.Wants, finish: finish, write: write, news: make(chan struct{}, 1)}
}

func (s *stream[W]) join(w *watch, m *member) *slot[W] {
	if s == nil || s.wants != nil && !s.wants(w.Channel.Name) {
		return nil
	}
	t := &slot[W]{next: math.MinInt64, index: int32(len(s.slots)), watch: w, member: m}
	s.slots = append(s.slots, t)
	return t
}

// turn makes the present window of a channel the one that a reading belongs to,
// which lies outside of it. A reading that is late, because its window is closed
// already, stays in the present one: no window is told of twice.
func (s *stream[W]) turn(t *slot[W], at, arrived int64) {
	at = min(max(at, -farthest), farthest)
	if t.length > 0 {
		if at < t.from {
			t.late++
			return
		}
		if uint64(at-t.from) < t.length {
			return
		}
		s.close(t)
	}
	every := int64(s.every)
	from := at - at%every
	if from > at { // before 1970
		from -= every
	}
	rest := from + every - at
	if t.next > from && t.next-from < max(every, int64(backward)) {
		t.late++
		from, rest = t.next, every
	}
	t.from, t.length, t.due = from, uint64(every), arrived+rest+int64(slack)
}

// close hands the present window over.
func (s *stream[W]) close(t *slot[W]) {
	s.finish(&t.window, t.watch)
	s.stats.made.Add(1)
	s.stats.late.Add(uint64(t.late))
	s.push(row[W]{from: t.from, late: t.late, window: t.window, member: t.member})
	var empty W
	t.window, t.late, t.length, t.next = empty, 0, 0, t.from+int64(t.length)
}

// push never waits: a row that finds no room is dropped.
func (s *stream[W]) push(r row[W]) {
	s.mu.Lock()
	room := len(s.waiting) < rowsWaiting+2*len(s.slots) && !s.stopped
	if room {
		s.waiting = append(s.waiting, r)
	}
	stopped := s.stopped
	s.mu.Unlock()
	switch {
	case room:
		select {
		case s.news <- struct{}{}:
		default:
		}
	case stopped:
		s.stats.stopped.Add(1)
	default:
		s.stats.full.Add(1)
	}
}

// take exchanges the rows that wait for an empty slice.
func (s *stream[W]) take(empty []row[W]) []row[W] {
	s.mu.Lock()
	defer s.mu.Unlock()
	rows := s.waiting
	s.waiting = empty
	return rows
}

func (s *stream[W]) tick(now int64) {
	if s == nil {
		return
	}
	for _, t := range s.slots {
		if t.length > 0 && now >= t.due {
			s.close(t)
		}
	}
}

func (s *stream[W]) closeAll() {
	if s == nil {
		return
	}
	for _, t := range s.slots {
		if t.length > 0 {
			s.close(t)
		}
	}
}

func (s *stream[W]) leave(t *slot[W]) {
	if t == nil {
		return
	}
	if t.length > 0 {
		s.close(t)
	}
	last := s.slots[len(s.slots)-1]
	s.slots[t.index], last.index = last, t.index
	s.slots[len(s.slots)-1] = nil
	s.slots = s.slots[:len(s.slots)-1]
}

// feedCounters count rows, and late readings.
type feedCounters struct {
	made, sent, full, unsent, stopped, late atomic.Uint64
}

// FeedStats counts the rows of one stream, one a channel and window. Once Run
// has returned, Made = Sent + Full + Unsent + Stopped.
type FeedStats struct {
	Topic   string
	Made    uint64
	Sent    uint64 // acknowledged by Kafka
	Full    uint64 // dropped: too many waited
	Unsent  uint64 // dropped: Kafka did not take them, as far as is known
	Stopped uint64 // dropped: made or still waiting when the feed stopped
	Late    uint64 // readings that came after their window was closed; they count in the next
}

// Dropped is the sum of what was dropped, for whatever reason.
func (s FeedStats) Dropped() uint64 { return s.Full + s.Unsent + s.Stopped }

// ByReason is what was dropped, by the reasons that there were; nil for none.
func (s FeedStats) ByReason() map[string]uint64 {
	all := map[string]uint64{"buffer_full": s.Full, "not_taken": s.Unsent, "stopped": s.Stopped}
	maps.DeleteFunc(all, func(_ string, n uint64) bool { return n == 0 })
	if len(all) == 0 {
		return nil
	}
	return all
}

// Stats counts by stream, "scores" and "samples", of those that are wanted. Safe
// at any time, on a nil Feed too.
func (f *Feed) Stats() map[string]FeedStats {
	all := map[string]FeedStats{}
	if f != nil && f.samples != nil {
		all[f.samples.name] = f.samples.stats.read(f.samples.topic)
	}
	if f != nil && f.scores != nil {
		all[f.scores.name] = f.scores.stats.read(f.scores.topic)
	}
	return all
}

func (c *feedCounters) read(topic string) FeedStats {
	return FeedStats{Topic: topic, Sent: c.sent.Load(), Full: c.full.Load(), Unsent: c.unsent.Load(), Stopped: c.stopped.Load(),
		Late: c.late.Load(), Made: c.made.Load()}
}
