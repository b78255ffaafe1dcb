package mqtt

import "sync"

// acks holds the messages that are to be acknowledged once they are judged, in
// the order in which they came (MQTT 3.1.1, 4.6). Marks grow as long as the
// Source lives, so that what was read over an earlier connection is never taken
// for what came later.
type acks struct {
	mu     sync.Mutex
	last   uint64 // highest mark given out
	judged uint64 // highest mark judged
	fifo   []unacked
	head   int
	conn   *conn // where to; nil between two connections
	target uint64
	done   chan struct{} // closed when target is judged; nil when nobody waits
}

type unacked struct {
	mark uint64
	id   uint16
	qos  byte
}

// connected starts with an empty queue: what is not acknowledged over its own
// connection comes again.
func (a *acks) connected(c *conn) {
	a.mu.Lock()
	a.conn, a.fifo, a.head = c, a.fifo[:0], 0
	a.mu.Unlock()
}

// add queues a message and gives the mark to offer its samples with. A message
// without any is acknowledged when those before it are judged.
func (a *acks) add(qos byte, id uint16, samples int) (mark uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if samples > 0 {
		a.last++
	}
	a.fifo = append(a.fifo, unacked{a.last, id, qos})
	a.release()
	return a.last
}

// reached is called when everything up to a mark has been judged.
func (a *acks) reached(mark uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.judged = max(a.judged, mark)
	a.release()
	if a.done != nil && a.judged >= a.target {
		close(a.done)
		a.done = nil
	}
}

func (a *acks) release() {
	for a.head < len(a.fifo) && a.fifo[a.head].mark <= a.judged {
		if a.conn != nil {
			a.conn.acknowledge(a.fifo[a.head].qos, a.fifo[a.head].id)
		}
		a.head++
	}
	if a.head == len(a.fifo) {
		a.fifo, a.head = a.fifo[:0], 0
	} else if a.head >= 1024 && a.head > len(a.fifo)/2 {
		a.fifo, a.head = a.fifo[:copy(a.fifo, a.fifo[a.head:])], 0
	}
}

// wait is closed once everything up to the mark has been judged.
func (a *acks) wait(mark uint64) <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	done := make(chan struct{})
	if a.judged >= mark {
		close(done)
	} else {
		a.target, a.done = mark, done
	}
	return done
}
