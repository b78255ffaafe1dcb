package sensors

import (
	"fmt"
	"io"
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
	byName   map[string]ChannelID
	writers  []*Writer
	most     int // channels
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
	for _, c := range channels {
		id, err := q.register(c)
		if err != nil {
			return nil, err
		}
		w.number(id)
	}
	q.mu.Lock()
	q.writers = append(q.writers, w)
	q.mu.Unlock()
	return w, nil
}

// Writers lists the sources that were registered, in order.
func (q *Queue) Writers() []*Writer {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]*Writer(nil), q.writers...)
}

// Channel is the channel with that number. A channel that a wildcard finds at
// run time is known here before its first sample can be taken.
func (q *Queue) Channel(id ChannelID) Channel {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.channels[id]
}

// NumChannels is how many channels are registered so far.
func (q *Queue) NumChannels() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.channels)
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

// register gives the channel's number in the street, a new one for a new name.
func (q *Queue) register(c Channel) (ChannelID, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if id, known := q.byName[c.Name]; known {
		return id, nil
	}
	if len(q.channels) >= q.most {
		return 0, fmt.Errorf("register %s: %w: there are %d", c.Name, ErrTooManyChannels, q.most)
	}
	id := ChannelID(len(q.channels))
	q.channels, q.byName[c.Name] = append(q.channels, c), id
	return id, nil
}

// Idle reports whether every batch has been judged.
func (q *Queue) Idle() bool { return len(q.free) == cap(q.free) }
