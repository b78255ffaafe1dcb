package uplink

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// refreshEvery is how often the number of partitions is asked for: a topic
	// may gain some while the agent runs.
	refreshEvery = 5 * time.Minute
	// expiry is half of what brokers remember a producer for
	// (producer.id.expiration.ms, a day): a batch in flight for longer can no
	// longer be told from a new one.
	expiry = 12 * time.Hour
	// goneAfter is how long a partition must be missing before its batch goes to
	// another: a broker that lags behind may deny a partition that exists.
	goneAfter = 15 * time.Minute
)

// ForwarderOptions are what the agent knows and a Forwarder needs.
type ForwarderOptions struct {
	Topic   string        // the topic for events
	Log     *slog.Logger  // nil: silent
	Timeout time.Duration // that one call of the Sink may take; default 30 s
	Grace   time.Duration // that a send under way has once the context ended; default 5 s
	// Clock is the wall clock and whether it can be trusted; default: time.Now,
	// trusted.
	Clock func() (now time.Time, trusted bool)
	// Boot is this boot of the kernel, as the Spool stamps it on batches, and
	// Uptime how long ago that was: a batch of this boot cannot be older. Empty
	// and nil where unknown.
	Boot   string
	Uptime func() time.Duration
	// Oldest is a time that no right clock can be before, such as the agent's
	// build: what was stamped earlier was stamped by a clock not yet set.
	Oldest time.Time
	// Restamp corrects times that are known better now than when the records were
	// made, each time before they are sent. It returns as many records in the same
	// order, with the same identities, and changes none of those it is given; the
	// Spool keeps what it has. Nil: nothing is corrected.
	Restamp func([]Record) []Record
}

// Forwarder moves records from a Spool to a Sink, each exactly once in effect.
//
// It leans on Kafka's idempotent producer: a broker that is sent the same
// producer id, sequence and count again answers as it did the first time. So a
// batch whose fate is unknown is sent again as it was, also by the next process,
// and no sequence is ever stored: every process asks for a producer of its own
// and counts from 0 for each partition. One goroutine serves one partition, and
// none waits for another.
type Forwarder struct {
	spool Spool
	sink  Sink
	o     ForwarderOptions

	lanes sync.WaitGroup  // one goroutine a lane
	poked chan struct{}   // asks for the number of partitions now
	calls context.Context // of sends: outlives Run's by the grace

	asking   chan struct{} // of one: holds a token while a producer is asked for
	producer Producer      // the newest; guarded by asking
	asked    bool          // producer is one; guarded by asking

	mu     sync.Mutex
	era    era             // guarded by mu
	byLane map[place]*lane // guarded by mu
	book   book            // guarded by mu
	better chan struct{}   // closed and made anew when trouble ends; guarded by mu
}

// place is one partition of one topic.
type place struct {
	topic     string
	partition int32
}

// era is a time in which the topic has the same number of partitions. Its
// context ends with it and calls lanes back that wait for records.
type era struct {
	ctx        context.Context
	end        context.CancelFunc
	partitions int32 // 0: not known yet
}

// NewForwarder returns a Forwarder that owns neither spool nor sink: both are
// closed by the caller after Run returned.
func NewForwarder(spool Spool, sink Sink, o ForwarderOptions) *Forwarder {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	if o.Clock == nil {
		o.Clock = func() (time.Time, bool) { return time.Now(), true }
	}
	return &Forwarder{
		spool: spool, sink: sink, o: o,
		poked:  make(chan struct{}, 1),
		asking: make(chan struct{}, 1),
		byLane: map[place]*lane{},
		better: make(chan struct{}),
		book:   book{said: map[string]time.Time{}},
	}
}

// Run forwards until ctx ends and returns nil after its last goroutine. A send
// under way then has the grace to finish; what is not acknowledged stays in
// flight on disk for the next process. Run is called once.
func (f *Forwarder) Run(ctx context.Context) error {
	calls, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	late := make(chan *time.Timer, 1)
	undo := context.AfterFunc(ctx, func() { late <- time.AfterFunc(f.o.Grace, stop) })
	defer func() {
		if !undo() {
			(<-late).Stop()
		}
	}()
	f.calls = calls
	f.mu.Lock()
	f.era.ctx, f.era.end = context.WithCancel(ctx)
	f.mu.Unlock()

	var flying []Batch
	if f.persist(ctx, "list the batches in flight", func() (err error) {
		flying, err = f.spool.InFlight(ctx)
		return err
	}) {
		for at, batches := range byPlace(flying) {
			f.start(ctx, at, batches)
		}
		f.watch(ctx)
	}
	f.lanes.Wait()
	f.mu.Lock()
	f.era.end()
	f.mu.Unlock()
	return nil
}

func byPlace(batches []Batch) map[place][]Batch {
	at := map[place][]Batch{}
	for _, b := range batches {
		p := place{b.Topic, b.Partition}
		at[p] = append(at[p], b)
	}
	return at
}

// start begins a lane, with what an earlier process left in flight there. A
// place has at most one lane.
func (f *Forwarder) start(ctx context.Context, at place, flying []Batch) {
	l := &lane{f: f, place: at}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.byLane[at] != nil {
		return
	}
	f.byLane[at] = l
	f.lanes.Go(func() { l.run(ctx, flying) })
}

// watch keeps the number of partitions current and a lane for each of them,
// until ctx ends.
func (f *Forwarder) watch(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		n, err := f.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		f.cluster(attempt, err)
		if err != nil {
			f.pause(ctx, backoff(attempt))
			attempt++
			continue
		}
		attempt = 0
		f.resize(ctx, n)
		for i := range n {
			f.start(ctx, place{f.o.Topic, i}, nil)
		}
		timer := time.NewTimer(refreshEvery)
		select {
		case <-timer.C:
		case <-f.poked:
			sleep(ctx, time.Second) // many lanes may ask at once
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// ask asks the cluster for the topic's number of partitions, in bounded time.
func (f *Forwarder) ask(ctx context.Context) (int32, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	return f.sink.Partitions(ctx, f.o.Topic)
}

// poke lets watch ask at once.
func (f *Forwarder) poke() {
	select {
	case f.poked <- struct{}{}:
	default:
	}
}

// resize begins another era if the number of partitions has changed. Records
// are then dealt anew; batches in flight keep the partition they have.
func (f *Forwarder) resize(ctx context.Context, n int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.era.partitions == n {
		return
	}
	if f.era.partitions == 0 {
		f.o.Log.Info("connected to Kafka", "topic", f.o.Topic, "partitions", n)
	} else {
		f.o.Log.Info("the topic's number of partitions has changed", "topic", f.o.Topic, "from", f.era.partitions, "to", n)
	}
	f.era.end()
	f.era.ctx, f.era.end = context.WithCancel(ctx)
	f.era.partitions = n
}

// now is the present era.
func (f *Forwarder) now() era {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.era
}

// fresh returns a producer newer than the one that the lane has used: the
// newest known if that is another, else one asked of the cluster. It asks until
// it has one; false says that ctx ended.
func (f *Forwarder) fresh(ctx context.Context, l *lane, used *Producer) (Producer, bool) {
	for attempt := 0; ; attempt++ {
		p, err := f.newest(ctx, used)
		if err == nil {
			if attempt > 0 {
				l.trouble(0, Outcome{})
			}
			return p, true
		}
		if ctx.Err() != nil {
			return Producer{}, false
		}
		l.trouble(attempt, asOutcome(err))
		if !f.pause(ctx, backoff(attempt)) {
			return Producer{}, false
		}
	}
}

// newest asks for a producer unless the newest known differs from used.
func (f *Forwarder) newest(ctx context.Context, used *Producer) (Producer, error) {
	select {
	case f.asking <- struct{}{}:
		defer func() { <-f.asking }()
	case <-ctx.Done():
		return Producer{}, ctx.Err()
	}
	if f.asked && (used == nil || *used != f.producer) {
		return f.producer, nil
	}
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	p, err := f.sink.Producer(ctx)
	if err != nil {
		return Producer{}, err
	}
	f.producer, f.asked = p, true
	return p, nil
}

// pause waits, or until another lane's trouble ends, as what held that one may
// have held this one, or until Hurry. False says that ctx ended first.
func (f *Forwarder) pause(ctx context.Context, d time.Duration) bool {
	f.mu.Lock()
	better := f.better
	f.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-better:
	case <-ctx.Done():
		return false
	}
	return true
}

// Hurry ends every wait for another attempt, for when somebody has mended what
// stood in the way.
func (f *Forwarder) Hurry() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relieve()
}

// relieve wakes who pauses. It is called with mu held.
func (f *Forwarder) relieve() {
	close(f.better)
	f.better = make(chan struct{})
}

// persist does a piece of the Spool's work until it succeeds: nothing may be
// sent that the disk does not know of. It tries at least once; false says that
// ctx ended first, or that the Spool has lost the batch.
func (f *Forwarder) persist(ctx context.Context, what string, do func() error) bool {
	for attempt := 0; ; attempt++ {
		err := do()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		f.disk(attempt, what, err)
		if errors.Is(err, ErrNotInFlight) {
			return false
		}
		if !sleep(ctx, backoff(attempt)) {
			return false
		}
	}
}
