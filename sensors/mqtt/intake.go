package mqtt

import (
	"context"
	"log/slog"
	"sync"
	"time"
	"unicode/utf8"

	"tocsin/sensors"
)

// handle takes one message, on the goroutine that reads the connection. It never
// waits.
func (s *Source) handle(m message) {
	if m.qos > 0 && !s.taking.Load() {
		return // not acknowledged: the broker sends it again
	}
	rt := s.route(&m)
	d := s.decoder
	switch {
	case m.tooLarge:
		n := 1
		if rt != nil {
			n = max(1, rt.scanned+len(rt.numbers)+len(rt.liners))
		}
		s.refuse(sensors.TooLarge, n, rt, &m)
		rt = nil
	case rt == nil:
		if !s.stray {
			s.stray = true
			s.log.Info("a message that no row reads: an overlapping subscription, or one of an earlier configuration that the broker still keeps", "topic", string(m.topic))
		}
	default:
		d.decode(rt, m.payload, m.at)
		for reason, n := range d.refused {
			if n > 0 {
				s.refuse(sensors.Reason(reason), n, rt, &m)
			}
		}
	}
	var samples []sensors.Sample
	if rt != nil {
		samples = d.samples
	}
	if m.retained {
		for i := range samples { // of unknown age
			samples[i].Quality = sensors.UncertainLastUsableValue
		}
	}
	s.offer(&m, samples)
}

// route is nil for a topic that no row reads. One over its bounds is too large.
func (s *Source) route(m *message) *route {
	levels := 1
	for _, c := range m.topic {
		if c == '/' {
			levels++
		}
	}
	if len(m.topic) == 0 || levels > mostTopicLevels {
		m.tooLarge = true
		return nil
	}
	return s.routes.of(m.topic)
}

// offer hands the samples on: at QoS 0 the oldest make room, else the newest wait.
func (s *Source) offer(m *message, samples []sensors.Sample) {
	if m.qos > 0 {
		mark := s.acks.add(m.qos, m.id, len(samples))
		if len(samples) > 0 {
			s.backlog.offer(s.out, mark, samples)
		}
		return
	}
	for most := s.out.Most(); len(samples) > 0; {
		n := min(len(samples), most)
		if !s.out.Offer(0, samples[:n]...) && !(s.out.DropOldest() && s.out.Offer(0, samples[:n]...)) {
			s.out.Refuse(sensors.QueueFull, n)
		}
		samples = samples[n:]
	}
}

// dry is called when all that has arrived was handled: nothing is gained by
// keeping it for company, which the inlet has gathered already.
func (s *Source) dry() { s.out.Flush() }

// Bounds on what waits for room in the queue, at QoS 1 and 2.
const (
	mostHeld        = 1 << 10 // messages
	mostHeldSamples = 1 << 15
)

// backlog holds, in order, the samples that the queue had no room for.
type backlog struct {
	over chan struct{} // one token: no more may be held

	mu      sync.Mutex
	held    []batch
	samples int
	last    uint64 // mark of what was offered last
	some    chan struct{}
	none    chan struct{} // closed when nothing is held any more; nil when nobody waits
}

type batch struct {
	mark    uint64
	samples []sensors.Sample
}

// reset forgets what an earlier connection left: it comes again.
func (b *backlog) reset() {
	b.mu.Lock()
	b.held, b.samples, b.none = nil, 0, nil
	b.over, b.some = make(chan struct{}, 1), make(chan struct{}, 1)
	b.mu.Unlock()
}

// start empties the backlog into the queue until stop is called.
func (b *backlog) start(ctx context.Context, out *sensors.Writer) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.empties(ctx, out)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (b *backlog) empties(ctx context.Context, out *sensors.Writer) {
	for {
		select {
		case <-b.some:
		case <-ctx.Done():
			return
		}
		for b.retry(out) {
			if out.Room(ctx) != nil {
				return
			}
		}
	}
}

// offer gives samples to the queue, behind those that wait already.
func (b *backlog) offer(out *sensors.Writer, mark uint64, samples []sensors.Sample) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) == 0 {
		samples = b.put(out, mark, samples)
	}
	if len(samples) == 0 {
		return
	}
	b.held = append(b.held, batch{mark, append([]sensors.Sample(nil), samples...)})
	b.samples += len(samples)
	signal(b.some)
	if len(b.held) >= mostHeld || b.samples >= mostHeldSamples {
		signal(b.over)
	}
}

// put returns what there was no room for. All parts of a message but its last
// carry the mark before, so that none of them is dropped as if it were of QoS 0.
func (b *backlog) put(out *sensors.Writer, mark uint64, samples []sensors.Sample) []sensors.Sample {
	for most := out.Most(); len(samples) > 0; {
		n, m := len(samples), mark
		if n > most {
			n, m = most, mark-1
		}
		if !out.Offer(m, samples[:n]...) {
			break
		}
		b.last = m
		samples = samples[n:]
	}
	return samples
}

// retry reports whether something is still held.
func (b *backlog) retry(out *sensors.Writer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.held) > 0 {
		first := &b.held[0]
		rest := b.put(out, first.mark, first.samples)
		b.samples -= len(first.samples) - len(rest)
		if first.samples = rest; len(rest) > 0 {
			return true
		}
		b.held = b.held[1:]
	}
	b.held = nil
	if b.none != nil {
		close(b.none)
		b.none = nil
	}
	return false
}

// empty is closed when nothing is held any more.
func (b *backlog) empty() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	none := make(chan struct{})
	if len(b.held) == 0 {
		close(none)
	} else {
		b.none = none
	}
	return none
}

// offered is the mark of what was offered last.
func (b *backlog) offered() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// quiet is how long the same reason is not logged again.
const quiet = time.Minute

// refusals logs what is refused, each reason at most once in a while.
type refusals struct {
	log  *slog.Logger
	last [sensors.Reasons]time.Time
	n    [sensors.Reasons]int // since it was logged last
}

// refuse counts readings that never became samples.
func (s *Source) refuse(reason sensors.Reason, n int, rt *route, m *message) {
	s.out.Refuse(reason, n)
	r := &s.refusals
	r.n[reason] += n
	if !r.last[reason].IsZero() && time.Since(r.last[reason]) < quiet {
		return
	}
	total := r.n[reason]
	r.last[reason], r.n[reason] = time.Now(), 0
	r.log.Warn("readings refused", "reason", reason.String(), "topic", string(m.topic), "readings", total,
		"expected", rt.wanted(), "payload", excerpt(m.payload), "cure", cures[reason])
}

var cures = [sensors.Reasons]string{
	sensors.NotFinite:      "the device sends NaN, an infinity or a number beyond 1.8e308: look at the device, or at scale",
	sensors.OutOfRange:     "",
	sensors.Malformed:      "compare payload with expected: set format, pointer or each of this topic",
	sensors.TooLarge:       "raise max_payload if the message is meant; nesting, keys, topic and readings have fixed bounds",
	sensors.BadTime:        "set time and time_format as the payload writes it",
	sensors.BadQuality:     "the device sends null: look at the device",
	sensors.UnknownChannel: "too many channels, or a topic or line that makes no name: narrow the filter or channel",
}

// wanted is what the rows of a route expect.
func (rt *route) wanted() string {
	if rt == nil {
		return ""
	}
	var r *row
	switch {
	case len(rt.bindings) > 0:
		r = rt.bindings[0].row
	case len(rt.numbers) > 0:
		r = rt.numbers[0].row
	default:
		r = rt.liners[0].row
	}
	return r.wanted()
}

// excerpt is the beginning of a payload; the log escapes what cannot be printed.
func excerpt(payload []byte) string {
	if len(payload) <= 64 {
		return string(payload)
	}
	payload = payload[:64]
	for len(payload) > 60 && !utf8.Valid(payload) {
		payload = payload[:len(payload)-1]
	}
	return string(payload) + "…"
}
