package sensors

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// linger is how long a batch waits for company after its first sample: the
// price of a batch against the latency of an alarm.
const linger = time.Millisecond

// Batch is a run of samples from one source, in the order they were put. The
// taker owns it until Release.
type Batch struct {
	Samples  []Sample
	Arrived  int64 // when its first sample was put, on the clock of Now
	from     *Writer
	onJudged func(mark uint64) // the writer's when the batch was begun
	mark     uint64            // the highest put; 0 for none
	then     func()            // of Then: a place in the queue, and no samples
}

// From is the writer of the source that the batch came from.
func (b *Batch) From() *Writer { return b.from }

// Release hands the batch back after judging: what it was marked with is
// acknowledged at its source and the batch goes round again.
func (b *Batch) Release() {
	if b.onJudged != nil && b.mark > 0 {
		b.onJudged(b.mark)
	}
	b.from.queue.release(b)
}

// Queue is the fixed set of batches that goes round between sources and judge.
// Many Writers fill it, one goroutine Takes.
type Queue struct {
	samples int           // a batch holds
	free    chan *Batch   // has room for all; a channel, so that who waits longest is served first
	ready   chan struct{} // one token: full may not be empty
	closing chan struct{} // closed: no batch is begun any more

	mu       sync.Mutex
	full     []*Batch // oldest first
	closed   bool     // what is not in full by now never will be
	channels []Channel
	feeders  []int       // how many writers feed each channel
	spare    []ChannelID // numbers that Sweep took back
	byName   map[string]ChannelID
	writers  []*Writer
	fed      int // channels that some writer feeds
	most     int // of those
}

// NewQueue makes a queue of the given number of batches of the given number of
// samples each, for at most mostChannels channels: samples × batches × 24 bytes.
func NewQueue(batches, samples, mostChannels int) *Queue {
	q := &Queue{samples: samples, free: make(chan *Batch, batches), ready: make(chan struct{}, 1),
		closing: make(chan struct{}), full: make([]*Batch, 0, batches),
		most: mostChannels, byName: map[string]ChannelID{}}
	for range batches {
		q.free <- &Batch{Samples: make([]Sample, 0, samples)}
	}
	return q
}

// Writer registers a source with its channels, whose numbers follow those of
// the writers before it.
func (q *Queue) Writer(name string, channels []Channel) (*Writer, error) {
	w := &Writer{Name: name, queue: q}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range channels {
		id, err := q.register(w, c)
		if err != nil {
			q.abandon(w)
			return nil, err
		}
		w.number(id)
	}
	q.mu.Lock()
	q.writers = append(q.writers, w)
	q.mu.Unlock()
	return w, nil
}

// Retire takes a writer that was closed out of the queue. Its channels keep
// their numbers, for another writer to feed them on, until Sweep. Call it where
// none of its samples can still be taken: in a function of Then, after Close.
func (q *Queue) Retire(w *Writer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	q.abandon(w)
}

// abandon is called with w.mu held.
func (q *Queue) abandon(w *Writer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id := range w.own {
		if q.feeders[id]--; q.feeders[id] == 0 {
			q.fed--
		}
	}
	w.own = nil
	q.writers = slices.DeleteFunc(q.writers, func(other *Writer) bool { return other == w })
}

// Sweep takes back, and returns, the numbers of the channels that no writer
// feeds any more; channels found later get them. No sample that carries one may
// be left to be judged.
func (q *Queue) Sweep() (gone []ChannelID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for name, id := range q.byName {
		if q.feeders[id] == 0 {
			delete(q.byName, name)
			q.channels[id] = Channel{}
			gone = append(gone, id)
		}
	}
	q.spare = append(q.spare, gone...)
	return gone
}

// Writers lists the sources that were registered, in order.
func (q *Queue) Writers() []*Writer {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]*Writer(nil), q.writers...)
}

// Feeder is a writer that feeds the channel, one that has not ended where there
// is such; nil where none does.
func (q *Queue) Feeder(id ChannelID) (feeder *Writer) {
	for _, w := range q.Writers() {
		if w.feeds(id) && (feeder == nil || feeder.Ended()) {
			feeder = w
		}
	}
	return feeder
}

// Channel is the channel with that number. A channel that a wildcard finds at
// run time is known here before its first sample can be taken.
func (q *Queue) Channel(id ChannelID) Channel {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.channels[id]
}

// NumChannels is how many channels are fed now. Until the first Sweep their
// numbers are 0 to NumChannels-1.
func (q *Queue) NumChannels() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.fed
}

// Fed lists the channels that are fed now.
func (q *Queue) Fed() (ids []ChannelID) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for id, n := range q.feeders {
		if n > 0 {
			ids = append(ids, ChannelID(id))
		}
	}
	return ids
}

// Then has f called by the goroutine that Takes, between two batches, when
// everything handed over by now has been judged. After ErrClosed it is not
// called.
func (q *Queue) Then(f func()) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.full = append(q.full, &Batch{then: f})
	q.wake()
	return nil
}

// Take waits for the oldest batch. It returns io.EOF once the queue is closed
// and empty, and neither batch nor error when wake gives something first.
func (q *Queue) Take(wake <-chan time.Time) (*Batch, error) {
	for {
		q.mu.Lock()
		if len(q.full) > 0 {
			b := q.full[0]
			q.full = append(q.full[:0], q.full[1:]...)
			q.mu.Unlock()
			if b.then != nil {
				b.then()
				continue
			}
			return b, nil
		}
		closed := q.closed
		q.mu.Unlock()
		if closed {
			return nil, io.EOF
		}
		select {
		case <-q.ready:
		case <-wake:
			return nil, nil
		}
	}
}

// Close says that every source has returned. What is queued can still be taken;
// a source that has not returned gets ErrClosed.
func (q *Queue) Close() {
	q.mu.Lock()
	select {
	case <-q.closing:
	default:
		close(q.closing)
	}
	q.mu.Unlock()
	for _, w := range q.Writers() { // only now, so that none begins another batch
		w.Flush()
	}
	q.mu.Lock()
	q.closed = true
	q.wake()
	q.mu.Unlock()
}

func (q *Queue) wake() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

func (q *Queue) push(b *Batch) {
	q.mu.Lock()
	q.full = append(q.full, b)
	q.wake()
	q.mu.Unlock()
}

// release makes b free again. It never blocks: free has room for every batch.
func (q *Queue) release(b *Batch) {
	b.Samples, b.mark, b.from, b.onJudged = b.Samples[:0], 0, nil, nil
	q.free <- b
}

// register gives the channel's number in the street, a new one for a new name,
// and notes that w feeds it. It is called with w.mu held.
func (q *Queue) register(w *Writer, c Channel) (ChannelID, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	id, known := q.byName[c.Name]
	if _, mine := w.own[id]; known && mine {
		return id, nil
	}
	if first := !known || q.feeders[id] == 0; first && q.fed >= q.most {
		return 0, fmt.Errorf("register %s: %w: there are %d", c.Name, ErrTooManyChannels, q.most)
	}
	if !known {
		id = q.vacant()
		q.byName[c.Name] = id
	}
	if q.feeders[id] == 0 {
		q.channels[id] = c
		q.fed++
	}
	q.feeders[id]++
	return id, nil
}

// vacant is a number that no channel has. It is called with mu held.
func (q *Queue) vacant() ChannelID {
	if last := len(q.spare) - 1; last >= 0 {
		id := q.spare[last]
		q.spare = q.spare[:last]
		return id
	}
	q.channels, q.feeders = append(q.channels, Channel{}), append(q.feeders, 0)
	return ChannelID(len(q.channels) - 1)
}

// Idle reports whether every batch has been judged.
func (q *Queue) Idle() bool { return len(q.free) == cap(q.free) }
