package uplink_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/uplink"
)

const events = 60

// live runs one process until it dies, or has delivered everything, or the
// time is up. It returns how many steps it took.
func live(d *disk, c *cluster, dies int) int {
	ctx, kill := context.WithTimeout(context.Background(), time.Hour)
	defer kill()
	p := &process{disk: d, cluster: c, kill: kill, dies: dies}
	f := uplink.NewForwarder(p, p, uplink.ForwarderOptions{Topic: "events"})
	done := make(chan struct{})
	go func() { _ = f.Run(ctx); close(done) }()
	for ctx.Err() == nil && !d.empty() {
		time.Sleep(50 * time.Millisecond)
	}
	kill()
	<-done
	return p.step
}

// history runs processes that die at the steps given, then one that lives, and
// says what is wrong with what came of it.
func history(t *testing.T, c *cluster, d *disk, dies ...int) error {
	var wrong error
	synctest.Test(t, func(*testing.T) {
		for i := range events {
			d.put(event(i + 1))
		}
		for _, step := range dies {
			live(d, c, step)
		}
		live(d, c, 0)
		wrong = verdict(c, d)
	})
	return wrong
}

// verdict: every event is in the topic once, or buried, and never both.
func verdict(c *cluster, d *disk) error {
	stored := c.stored()
	for _, id := range d.buried {
		stored[id]++
	}
	for i := range events {
		r := event(i + 1)
		if n := stored[r.ID()]; n != 1 {
			return fmt.Errorf("%s is delivered %d times", r.ID(), n)
		}
	}
	return nil
}

// faults makes a faulty network, the same for the same seed.
func faults(seed uint64) func(uplink.Batch) fault {
	random := rand.New(rand.NewPCG(seed, 1))
	return func(uplink.Batch) fault {
		switch n := random.IntN(10); n {
		case 0:
			return unsent
		case 1:
			return lost
		case 2, 3:
			return unanswered
		}
		return arrives
	}
}

// A process that dies at any step, and its successor too, lose and repeat
// nothing, on a network that loses requests and answers.
func TestCrashAtEveryStep(t *testing.T) {
	for step := 1; ; step++ {
		c, d := newCluster(3), newDisk(7)
		c.fault = faults(uint64(step))
		if err := history(t, c, d, step, 1+step%17); err != nil {
			t.Fatalf("processes that died at steps %d and %d: %v", step, 1+step%17, err)
		}
		if len(d.repeated) > 0 {
			t.Fatalf("died at step %d: %d events count as possibly repeated", step, len(d.repeated))
		}
		if step > 120 {
			return
		}
	}
}

// The same with batches that must be taken apart, down to records that no
// broker takes.
func TestCrashWhileTakingApart(t *testing.T) {
	for step := 1; step <= 120; step += 3 {
		c, d := newCluster(3), newDisk(7)
		c.largest = 20
		d.put(uplink.Record{Epoch: 1, Seq: 1000, Device: "gw", Key: "acme/north/press-shop/line1/press1", Body: make([]byte, 100)})
		if err := history(t, c, d, step); err != nil {
			t.Fatalf("died at step %d: %v", step, err)
		}
		if len(d.buried) != 1 {
			t.Fatalf("died at step %d: %d events are buried, want the one that is too large", step, len(d.buried))
		}
	}
}

// The model has teeth: where the members of a batch in flight change between two
// processes, though not their number, the broker takes it for the same batch
// and events are lost in silence.
func TestChangedMembersAreNoticed(t *testing.T) {
	noticed := 0
	for step := 1; step <= 60; step++ {
		c, d := newCluster(3), newDisk(7)
		c.fault = faults(uint64(step))
		d.mutate = func(d *disk, b *uplink.Batch) {
			for i, r := range d.queue {
				if uplink.Partition(r.Key, b.Partitions) == b.Partition {
					b.Records[0], d.queue[i] = r, b.Records[0]
					return
				}
			}
		}
		if history(t, c, d, step) != nil {
			noticed++
		}
	}
	if noticed == 0 {
		t.Error("batches whose members changed after a crash went unnoticed")
	}
	t.Logf("%d of 60 histories were wrong", noticed)
}
