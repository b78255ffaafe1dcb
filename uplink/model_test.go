package uplink_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"tocsin/uplink"
)

// The model: a cluster with Kafka's idempotence and nothing else, a disk that
// survives, and processes that die at any step between the two.

// cluster is the model of a topic. Its clock is the bubble's.
type cluster struct {
	mu         sync.Mutex
	partitions []*log
	producers  int64
	largest    int    // bytes of bodies that a batch may have; 0: any
	deleted    string // a topic that is not there
	denies     int    // partitions from this one on are denied, though they exist; 0: none

	// fault is what happens to a batch on its way; nil: it arrives.
	fault func(uplink.Batch) fault
	sends []uplink.Batch // as they were sent
}

type fault int

const (
	arrives    fault = iota
	unsent           // refused before it could be sent
	lost             // on its way there
	unanswered       // stored, and the answer lost
	denied           // a person must act
	forgotten        // the broker has lost what it knew of the producer
)

// log is one partition.
type log struct {
	ids   []string // ce_id, in order
	known map[uplink.Producer]*window
}

// window is what a broker remembers of a producer: its last five batches, for a
// day (Kafka, ProducerStateEntry and producer.id.expiration.ms).
type window struct {
	last []span
	next int32
	used time.Time
}

type span struct{ sequence, count int32 }

const (
	remembered = 5
	brokerDay  = 24 * time.Hour
)

func newCluster(partitions int) *cluster {
	c := &cluster{}
	c.grow(partitions)
	return c
}

func (c *cluster) grow(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.partitions) < n {
		c.partitions = append(c.partitions, &log{known: map[uplink.Producer]*window{}})
	}
	c.partitions = c.partitions[:n]
}

func (c *cluster) produce(b uplink.Batch) uplink.Outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sends = append(c.sends, b)
	f := arrives
	if c.fault != nil {
		f = c.fault(b)
	}
	switch f {
	case unsent:
		return uplink.Outcome{Result: uplink.Again, Err: errors.New("connection refused")}
	case lost:
		return uplink.Outcome{Result: uplink.Again, Err: errors.New("timed out"), Unknown: true}
	case denied:
		return uplink.Outcome{Result: uplink.Hold, Err: errors.New("denied"), Cure: "ask for the right"}
	case unanswered:
		c.append(b)
		return uplink.Outcome{Result: uplink.Again, Err: errors.New("timed out"), Unknown: true}
	case forgotten:
		return uplink.Outcome{Result: uplink.NewProducer, Err: errors.New("[59]")}
	}
	return c.append(b)
}

func (c *cluster) append(b uplink.Batch) uplink.Outcome {
	if int(b.Partition) >= len(c.partitions) || b.Topic == c.deleted || c.denies > 0 && int(b.Partition) >= c.denies {
		return uplink.Outcome{Result: uplink.Hold, Err: fmt.Errorf("[3]: %w", uplink.ErrMissing), Cure: "create it"}
	}
	size := 0
	for _, r := range b.Records {
		size += len(r.Body)
	}
	if c.largest > 0 && size > c.largest {
		return uplink.Outcome{Result: uplink.TooLarge, Err: errors.New("[10]")}
	}
	l := c.partitions[b.Partition]
	w := l.known[b.Producer]
	if w != nil && time.Since(w.used) > brokerDay {
		delete(l.known, b.Producer)
		w = nil
	}
	this := span{b.Sequence, int32(len(b.Records))}
	switch {
	case w == nil && (b.Sequence == 0 || len(l.ids) > 0): // any sequence, but for an empty log (KAFKA-15591)
		w = &window{}
		l.known[b.Producer] = w
	case w == nil, b.Sequence != w.next && !slices.Contains(w.last, this):
		return uplink.Outcome{Result: uplink.NewProducer, Err: errors.New("[45]")}
	case b.Sequence != w.next:
		return uplink.Outcome{} // sent again: nothing is stored, whatever is in it
	}
	w.last = append(w.last, this)
	w.last = w.last[max(0, len(w.last)-remembered):]
	w.next = int32((int64(b.Sequence) + int64(this.count)) & math.MaxInt32)
	w.used = time.Now()
	for i := range b.Records {
		l.ids = append(l.ids, b.Records[i].ID())
	}
	return uplink.Outcome{}
}

// stored counts how often each record is in the topic.
func (c *cluster) stored() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := map[string]int{}
	for _, l := range c.partitions {
		for _, id := range l.ids {
			n[id]++
		}
	}
	return n
}

// disk is what survives: the queue, in order, and the batches in flight.
type disk struct {
	mu       sync.Mutex
	queue    []uplink.Record
	flying   map[place]uplink.Batch
	acked    map[place]bool // deleted with the next transaction, as a Spool may
	buried   []string
	repeated map[string]bool
	refs     uint64
	most     int           // records a batch may have
	wake     chan struct{} // closed and made anew when records are queued

	loses bool // the batch that is to be changed in flight, as a damaged file does
	// mutate changes a batch in flight as the next process finds it: the fault
	// that the model must notice.
	mutate func(*disk, *uplink.Batch)
}

type place struct {
	topic     string
	partition int32
}

func at(b uplink.Batch) place { return place{b.Topic, b.Partition} }

func newDisk(most int) *disk {
	return &disk{
		flying: map[place]uplink.Batch{}, acked: map[place]bool{}, repeated: map[string]bool{},
		most: most, wake: make(chan struct{}),
	}
}

// event is record seq, of one of five machines.
func event(seq int) uplink.Record {
	return uplink.Record{
		Epoch: 1, Seq: uint64(seq), Device: "gw",
		Key: fmt.Sprint("acme/north/press-shop/line1/press", seq%5+1), Body: []byte("0123456789"),
	}
}

func (d *disk) put(records ...uplink.Record) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queue = append(d.queue, records...)
	close(d.wake)
	d.wake = make(chan struct{})
}

// commit is what every transaction also does. Called with mu held.
func (d *disk) commit() {
	for p := range d.acked {
		delete(d.flying, p)
		delete(d.acked, p)
	}
}

// empty reports whether everything has been acknowledged or buried.
func (d *disk) empty() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.queue) == 0 && len(d.acked) == len(d.flying)
}

// process is a Spool and a Sink that die together. Each call takes two steps,
// before and after it has its effect; at step dies the process is dead, and
// nothing that it does has an effect any more.
type process struct {
	*disk
	cluster *cluster
	kill    context.CancelFunc

	mu     sync.Mutex
	random *rand.Rand
	step   int
	dies   int // 0: never
	dead   bool
}

var errDead = errors.New("this process is dead")

func (p *process) alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.step++; p.step == p.dies {
		p.dead = true
		p.kill()
	}
	return !p.dead
}

// do runs effect between two steps.
func (p *process) do(effect func() error) error {
	p.mu.Lock()
	if p.random == nil {
		p.random = rand.New(rand.NewPCG(uint64(p.dies), 2))
	}
	pause := time.Duration(p.random.IntN(3)) * time.Millisecond // so that lanes take turns
	p.mu.Unlock()
	time.Sleep(pause)
	if !p.alive() {
		return errDead
	}
	err := effect()
	if !p.alive() {
		return errDead
	}
	return err
}

func (p *process) Append(context.Context, []uplink.Record, []uplink.Entry) error { return nil }
func (p *process) Close() error                                                  { return nil }

func (p *process) InFlight(context.Context) (left []uplink.Batch, err error) {
	err = p.do(func() error {
		p.disk.mu.Lock()
		defer p.disk.mu.Unlock()
		clear(p.acked) // that was in memory only
		for i, b := range p.flying {
			if p.mutate != nil {
				p.mutate(p.disk, &b)
				p.flying[i] = b
			}
			b.Since = b.Since.Round(0) // a disk keeps no monotonic clock
			left = append(left, b)
		}
		return nil
	})
	return left, err
}

func (p *process) Next(ctx context.Context, l uplink.Lane) (b uplink.Batch, err error) {
	for {
		p.disk.mu.Lock()
		wake := p.wake
		p.disk.mu.Unlock()
		if err = p.do(func() error { b = p.take(l); return nil }); err != nil || len(b.Records) > 0 {
			return b, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return b, ctx.Err()
		}
	}
}

// take puts the first records of the lane's partition in flight.
func (d *disk) take(l uplink.Lane) uplink.Batch {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.commit()
	b := uplink.Batch{Lane: l, Since: time.Now()}
	d.queue = slices.DeleteFunc(slices.Clone(d.queue), func(r uplink.Record) bool {
		if len(b.Records) == d.most || uplink.Partition(r.Key, l.Partitions) != l.Partition {
			return false
		}
		b.Records = append(b.Records, r)
		return true
	})
	if len(b.Records) > 0 {
		d.refs++
		b.Ref = d.refs
		d.flying[at(b)] = b
	}
	return b
}

func (p *process) Done(b uplink.Batch) error {
	return p.do(func() error {
		p.disk.mu.Lock()
		defer p.disk.mu.Unlock()
		p.acked[at(b)] = true
		return nil
	})
}

func (p *process) Rewrite(_ context.Context, b uplink.Batch, keep int, by uplink.Producer, sequence int32, repeated bool) (uplink.Batch, error) {
	err := p.do(func() error {
		p.disk.mu.Lock()
		p.commit()
		if p.loses {
			delete(p.flying, at(b))
			p.disk.mu.Unlock()
			return uplink.ErrNotInFlight
		}
		if repeated {
			for i := range b.Records {
				p.repeated[b.Records[i].ID()] = true
			}
		}
		back := b.Records[keep:]
		b.Records = b.Records[:keep:keep]
		if b.Producer != by {
			b.Since = time.Now()
		}
		b.Producer, b.Sequence = by, sequence
		p.flying[at(b)] = b
		if keep == 0 {
			delete(p.flying, at(b))
		}
		p.queue = append(slices.Clone(back), p.queue...)
		p.disk.mu.Unlock()
		p.put()
		return nil
	})
	return b, err
}

func (p *process) Bury(_ context.Context, b uplink.Batch, _ string) error {
	return p.do(func() error {
		p.disk.mu.Lock()
		defer p.disk.mu.Unlock()
		p.commit()
		p.buried = append(p.buried, b.Records[0].ID())
		delete(p.flying, at(b))
		return nil
	})
}

func (p *process) Partitions(context.Context, string) (n int32, err error) {
	err = p.do(func() error {
		p.cluster.mu.Lock()
		defer p.cluster.mu.Unlock()
		n = int32(len(p.cluster.partitions))
		if p.cluster.denies > 0 {
			n = int32(p.cluster.denies)
		}
		return nil
	})
	return n, err
}

func (p *process) Producer(context.Context) (by uplink.Producer, err error) {
	err = p.do(func() error {
		p.cluster.mu.Lock()
		defer p.cluster.mu.Unlock()
		p.cluster.producers++
		by.ID = p.cluster.producers
		return nil
	})
	return by, err
}

func (p *process) Send(ctx context.Context, b uplink.Batch) (out uplink.Outcome) {
	err := p.do(func() error {
		out = p.cluster.produce(b)
		return nil
	})
	if err != nil {
		return uplink.Outcome{Result: uplink.Again, Err: err, Unknown: true}
	}
	return out
}
