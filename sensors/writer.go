package sensors

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Writer is one source's way into the queue. Its methods may be called from
// several goroutines; samples keep the order in which they were put.
type Writer struct {
	Name     string
	Counters Counters
	queue    *Queue
	ended    atomic.Bool

	mu       sync.Mutex
	ids      []ChannelID             // the street's number of each of the source's channels
	own      map[ChannelID]ChannelID // the other way round
	onJudged func(mark uint64)
	batch    *Batch      // begun and not yet handed over; nil for none
	timer    *time.Timer // hands it over
	closed   bool
}

// OnJudged sets what is called, from the judging goroutine, when everything put
// up to a mark has been judged. Marks must grow. Call it before the first Put; a
// source that runs again may call it again and begin its marks anew: what was
// put before is acknowledged to the function it was put under.
func (w *Writer) OnJudged(f func(mark uint64)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	w.onJudged = f
}

// Register adds a channel, found for example by an MQTT wildcard, and returns
// the source's own number for it. A name that another source or this one has
// registered keeps its number. It allocates: keep the number.
func (w *Writer) Register(c Channel) (ChannelID, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, ErrClosed
	}
	id, err := w.queue.register(w, c)
	if err != nil {
		return 0, err
	}
	if own, known := w.own[id]; known {
		return own, nil
	}
	return w.number(id), nil
}

// number gives the next of the source's own numbers to a channel of the street.
func (w *Writer) number(id ChannelID) ChannelID {
	own := ChannelID(len(w.ids))
	w.ids = append(w.ids, id)
	if w.own == nil {
		w.own = map[ChannelID]ChannelID{}
	}
	w.own[id] = own
	return own
}

func (w *Writer) feeds(id ChannelID) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, feeds := w.own[id]
	return feeds
}

// Put adds samples and waits for room while the queue is full: for sources that
// are asked, where waiting is the back-pressure. The samples are copied. Values
// that are not finite are refused and counted.
func (w *Writer) Put(ctx context.Context, samples ...Sample) error {
	w.Counters.Read.Add(uint64(len(samples)))
	for {
		w.mu.Lock()
		n := w.fill(samples)
		w.mu.Unlock()
		if samples = samples[n:]; len(samples) == 0 {
			return nil
		}
		if err := w.Room(ctx); err != nil {
			w.Counters.Refuse(QueueFull, len(samples))
			return err
		}
	}
}

// Offer adds the samples of one message without ever waiting: for sources that
// push. It reports false, having taken none, when the queue has no room; the
// caller then keeps the message, or makes room with DropOldest. A mark above 0
// is given to OnJudged once the samples are judged. One batch holds them all:
// what is more than Most is refused as too large.
func (w *Writer) Offer(mark uint64, samples ...Sample) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.batch != nil && len(w.batch.Samples)+len(samples) > w.queue.samples {
		w.flush()
	}
	if w.batch == nil && !w.open() {
		return false
	}
	w.Counters.Read.Add(uint64(len(samples)))
	if most := w.queue.samples; len(samples) > most {
		w.Counters.Refuse(TooLarge, len(samples)-most)
		samples = samples[:most]
	}
	w.batch.mark = max(w.batch.mark, mark)
	w.fill(samples)
	return true
}

// Most is how many samples may be offered at once.
func (w *Writer) Most() int { return w.queue.samples }

// DropOldest takes the source's oldest batch that carries no mark out of the
// queue and counts its samples as refused. It reports whether there was one.
func (w *Writer) DropOldest() bool {
	q := w.queue
	q.mu.Lock()
	for i, b := range q.full {
		if b.from != w || b.mark != 0 {
			continue
		}
		q.full = append(q.full[:i], q.full[i+1:]...)
		q.mu.Unlock()
		w.Counters.Refuse(QueueFull, len(b.Samples))
		q.release(b)
		return true
	}
	q.mu.Unlock()
	return false
}

// Refuse counts n readings that never became samples.
func (w *Writer) Refuse(reason Reason, n int) {
	w.Counters.Read.Add(uint64(n))
	w.Counters.Refuse(reason, n)
}

// Room waits until a batch is free and keeps it for this writer for a moment.
// Who waits longest gets the next: a source that pushes without end cannot
// starve one that waits.
func (w *Writer) Room(ctx context.Context) error {
	select {
	case b := <-w.queue.free:
		return w.reserve(b)
	case <-w.queue.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Writer) reserve(b *Batch) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut() {
		w.queue.release(b)
		return ErrClosed
	}
	if w.batch != nil { // another goroutine of this source was faster
		w.queue.release(b)
		return nil
	}
	w.begin(b)
	return nil
}

// End says that the source has nothing more to give: its silence is no fault.
func (w *Writer) End() {
	w.Flush()
	w.ended.Store(true)
}

// Ended reports whether the source has come to its end.
func (w *Writer) Ended() bool { return w.ended.Load() }

// Close hands over what was put and refuses what a source that did not stop in
// time still puts. See Queue.Retire.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	w.closed = true
}

// shut says that no batch is begun any more.
func (w *Writer) shut() bool {
	select {
	case <-w.queue.closing:
		return true
	default:
		return w.closed
	}
}

// Flush hands over what has been put so far without waiting for company.
func (w *Writer) Flush() {
	w.mu.Lock()
	w.flush()
	w.mu.Unlock()
}

// flush hands the batch over, or back when nothing was put into it.
func (w *Writer) flush() {
	b := w.batch
	if b == nil {
		return
	}
	w.batch = nil
	w.timer.Stop()
	if len(b.Samples) == 0 && b.mark == 0 {
		w.queue.release(b)
		return
	}
	w.queue.push(b)
}

// open begins a batch if one is free.
func (w *Writer) open() bool {
	if w.shut() {
		return false
	}
	select {
	case b := <-w.queue.free:
		w.begin(b)
		return true
	default:
		return false
	}
}

// begin arms the timer that will hand the batch over.
func (w *Writer) begin(b *Batch) {
	b.from, b.onJudged, b.Arrived = w, w.onJudged, Now()
	w.batch = b
	if w.timer == nil {
		w.timer = time.AfterFunc(linger, w.Flush)
	} else {
		w.timer.Reset(linger)
	}
}

// fill copies what there is room for and returns how many samples that was.
func (w *Writer) fill(samples []Sample) int {
	for i, s := range samples {
		if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
			w.Counters.Refuse(NotFinite, 1)
			continue
		}
		if w.batch == nil && !w.open() {
			return i
		}
		s.Channel = w.ids[s.Channel]
		w.batch.Samples = append(w.batch.Samples, s)
		if len(w.batch.Samples) == w.queue.samples {
			w.flush()
		}
	}
	return len(samples)
}
