package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"tocsin/agent/alarms"
	"tocsin/uplink"
)

const (
	// A message holds what came of one machine and window within gatherTime; all
	// that are gathered are sent sooner when they are gatherBytes, before
	// compression. That is the bound of a message too.
	gatherTime  = time.Second
	gatherBytes = 256 << 10
	// sendTime is how long one attempt to publish may take.
	sendTime = 15 * time.Second
	// retryAfter is when what was not taken is tried once more.
	retryAfter = 500 * time.Millisecond
	// While Kafka takes nothing it is asked every 2 s at first and every longestRest
	// later; rows wait meanwhile as long as there is room.
	longestRest = 30 * time.Second
)

// Run publishes until ctx ends or the judge has given its last row, and returns
// within parting after that, with all its goroutines. Call it once.
func (f *Feed) Run(ctx context.Context) {
	if f == nil {
		return
	}
	defer context.AfterFunc(ctx, f.end)()
	hard, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	defer context.AfterFunc(f.ended, func() { time.AfterFunc(parting, giveUp) })()
	var streams sync.WaitGroup
	if f.samples != nil {
		streams.Go(func() { f.samples.run(f.ended, hard) })
	}
	if f.scores != nil {
		streams.Go(func() { f.scores.run(f.ended, hard) })
	}
	streams.Wait()
}

// run makes messages of rows until the stream has ended, and then of those that
// are left. hard ends every attempt to send.
func (s *stream[W]) run(ended, hard context.Context) {
	var spare []row[W]
	gather := func() {
		rows := s.take(spare[:0])
		for i := range rows {
			r := &rows[i]
			p := s.page(&r.member.channel, r.from, s.every)
			p.body = s.write(p.body, r)
			if s.grown(p) {
				s.flush(ended, hard)
			}
		}
		clear(rows)
		spare = rows
	}
	for due := (<-chan time.Time)(nil); ; {
		select {
		case <-s.news:
			gather()
			if due == nil {
				due = time.After(gatherTime)
			}
		case <-due:
			s.flush(ended, hard)
			due = nil
		case <-ended.Done():
			s.mu.Lock()
			s.stopped = true
			s.mu.Unlock()
			gather()
			s.flush(ended, hard)
			return
		}
	}
}

// sender makes messages and sends them. It belongs to the goroutine of run but
// for the counters.
type sender struct {
	stats    *feedCounters
	o        *FeedOptions
	name     string // "samples"
	topic    string
	instance string // of the feed; seq is unique within it

	seq     uint64 // of the newest message
	full    uint64 // rows dropped before it
	pages   []*page
	byPlace map[place]*page
	bytes   int // in pages
	rows    int // in pages
	outage  feedOutage
}

// place is what one message is about.
type place struct {
	key, machine string
	from         int64
}

// page is a message in the making.
type page struct {
	id     string
	key    string
	to     int64
	body   []byte
	length int // of body, as sender.bytes knows it
}

func newSender(o FeedOptions, s Stream, name, instance string) sender {
	return sender{stats: &feedCounters{}, o: &o, name: name, topic: s.Topic, instance: instance, byPlace: map[place]*page{}}
}

// page finds the message that a channel's row belongs to, or begins it.
func (s *sender) page(c *alarms.Channel, from int64, every time.Duration) *page {
	at := place{c.Key, c.Machine, from}
	if p := s.byPlace[at]; p != nil {
		p.body = append(p.body, ',')
		return p
	}
	if full := s.stats.full.Load(); full != s.full {
		s.seq, s.full = s.seq+1, full // a gap, for all to see
	}
	s.seq++
	p := &page{key: c.Key, to: from + int64(every), id: messageID(s.o.Origin.Device, s.instance, s.name, s.seq)}
	p.body = s.appendHead(nil, c.Machine, from, p.to)
	s.byPlace[at], s.pages = p, append(s.pages, p)
	return p
}

// grown takes in that a row was added to the page and reports whether what is
// gathered is to be sent at once.
func (s *sender) grown(p *page) bool {
	s.rows++
	s.bytes += len(p.body) - p.length
	p.length = len(p.body)
	return s.bytes >= gatherBytes
}

// flush sends what is gathered; what Kafka does not take is dropped.
func (s *sender) flush(ended, hard context.Context) {
	if len(s.pages) == 0 {
		return
	}
	messages := make([]uplink.Message, 0, len(s.pages))
	for _, p := range s.pages {
		messages = append(messages, uplink.Message{Key: []byte(p.key), Value: append(p.body, "]}"...), Type: "tocsin." + s.name + ".v1",
			Source: s.o.Origin.Source, ID: p.id, Time: p.to})
	}
	s.outage.rest(ended)
	err := s.publish(hard, messages)
	if err != nil && !s.outage.on() && passing(err) && sleep(hard, retryAfter) {
		err = s.publish(hard, messages)
	}
	switch rows := uint64(s.rows); {
	case err == nil:
		s.stats.sent.Add(rows)
		s.outage.over(s)
	case ended.Err() != nil:
		s.stats.stopped.Add(rows)
	default:
		s.stats.unsent.Add(rows)
		s.outage.tell(s, err)
	}
	clear(s.byPlace)
	s.pages, s.bytes, s.rows = nil, 0, 0
}

func (s *sender) publish(hard context.Context, messages []uplink.Message) error {
	ctx, cancel := context.WithTimeout(hard, sendTime)
	defer cancel()
	return s.o.Publisher.Publish(ctx, s.topic, messages)
}

// passing reports whether an error may be gone a moment later.
func passing(err error) bool {
	var out uplink.Outcome
	return !errors.As(err, &out) || out.Result == uplink.Again
}

// feedOutage is what the log was told of a topic that takes nothing.
type feedOutage struct {
	since, said time.Time
	pause       time.Duration
	again       time.Time // not to be tried before
}

func (o *feedOutage) on() bool { return !o.since.IsZero() }

// rest waits until the topic may be tried again, or there is no more time to.
func (o *feedOutage) rest(ended context.Context) {
	if o.on() {
		sleep(ended, time.Until(o.again))
	}
}

// tell logs that an outage begins, and once an hour that it goes on.
func (o *feedOutage) tell(s *sender, err error) {
	now := time.Now()
	if !o.on() {
		o.since = now
	}
	o.pause = min(max(2*o.pause, 2*time.Second), longestRest)
	o.again = now.Add(o.pause)
	if o.said.IsZero() || now.Sub(o.said) >= time.Hour {
		o.said = now
		s.o.Log.Warn("a best-effort stream does not reach Kafka and is dropped; events do not depend on it", "stream", s.name, "topic", s.topic, "error", err)
	}
}

func (o *feedOutage) over(s *sender) {
	if o.on() {
		s.o.Log.Info("a best-effort stream reaches Kafka again", "stream", s.name, "topic", s.topic, "down_for", time.Since(o.since).Round(time.Second),
			"dropped", s.stats.full.Load()+s.stats.unsent.Load())
	}
	*o = feedOutage{}
}

// appendHead appends the body up to the first channel.
func (s *sender) appendHead(to []byte, machine string, from, until int64) []byte {
	o := s.o.Origin
	head, err := json.Marshal(struct {
		Device   string    `json:"device"`
		Instance string    `json:"instance"`
		Seq      uint64    `json:"seq"`
		Site     string    `json:"site"`
		Machine  string    `json:"machine"`
		From     time.Time `json:"from"`
		To       time.Time `json:"to"`
		Clock    string    `json:"clock"`
		Version  string    `json:"version"`
	}{o.Device, s.instance, s.seq, o.Site, machine, time.Unix(0, from).UTC(), time.Unix(0, until).UTC(), o.Clock.Trust().String(), o.Version})
	if err == nil { // text and times that JSON knows: always
		to = append(to, head[:len(head)-1]...)
	}
	return append(to, `,"channels":[`...)
}
