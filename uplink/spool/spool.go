// Package spool keeps event records on the gateway's disk until Kafka has
// them. It implements uplink.Spool on a ring of small bbolt files.
//
// An event is safe when the Append that brought it has returned. Records lie in
// blocks, one for every severity of a commit, in the order of their sequences.
// The newest file of the ring, the head, also holds everything that changes:
// which sequences are done, what is in flight, the counters, which alarms are
// open, the alarm state. Every change of whatever kind is therefore one
// transaction in one file, and older files are only ever read, then unlinked.
package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// ErrClosed is the answer of every method after Close.
var ErrClosed = errors.New("the buffer is closed")

// Spool is an uplink.Spool on disk. Its methods may be called at any time by
// any goroutine; one transaction runs at a time and takes with it whatever
// waits for one.
type Spool struct {
	dir  string
	o    Options
	lock *os.File
	boot string
	*sealer

	gate chan struct{} // holds one token; who has it owns all below but waiting

	memory           // what the disk holds; read again after a transaction failed
	stale    bool    // memory may differ from the disk
	torn     bool    // the head's newest transaction was, when it was opened
	unsynced bool    // a rename in dir is not known to be on disk
	cache    cache   // decoded blocks
	lanes    lanes   // where each lane's search goes on
	acked    laneSet // acknowledged batches that wait to be deleted
	settled  laneSet // batches that the last transaction ended, committed or not
	tried    span    // sequences of the last Append, committed or not
	lastRef  uint64  // of the newest batch that a caller knows
	timer    *time.Timer
	aged     time.Time // when old events were last looked for
	told     time.Time // when a loss was last logged
	untold   int64     // dropped since
	forced   int       // how often alarms could not be spared as a whole
	closed   bool
	ended    chan struct{} // closed by Close

	mu      sync.Mutex // guards waiting
	waiting map[laneID]*waiter
}

// memory is the state of the head, and of nothing else.
type memory struct {
	files []*file // ascending; the last is the head
	free  int64   // bytes of the head's file that can be used again
	ledger
	done    doneSet
	flights map[laneID]*flight
	flying  map[uint64]struct{}           // sequences in flight
	moved   map[uint64]detectors.Severity // promoted and still queued: where the valid copy is
	open    map[uint64]openAlarm
}

type (
	laneSet map[laneID]uint64 // a batch's Ref
	span    struct{ first, last uint64 }
)

var _ uplink.Spool = (*Spool)(nil)

// Open opens the buffer in dir, which it makes where there is none. Another
// process that has it is ErrInUse.
func Open(dir string, o Options) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the buffer's folder: %w", err)
	}
	sealer, err := newSealer()
	if err != nil {
		return nil, err
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Spool{
		dir: dir, o: o.withDefaults(), lock: lock, boot: BootID(), sealer: sealer,
		gate: make(chan struct{}, 1), ended: make(chan struct{}), waiting: map[laneID]*waiter{},
		acked: laneSet{}, settled: laneSet{},
	}
	err = s.load()
	if err == nil && s.torn {
		err = s.renew()
	}
	if err != nil {
		s.closeFiles()
		_ = lock.Close()
		return nil, fmt.Errorf("open the buffer in %s: %w", dir, err)
	}
	s.lastRef = s.ref
	s.gate <- struct{}{}
	return s, nil
}

// Close deletes what was acknowledged, ends every waiting Next with ErrClosed
// and gives the folder free. Batches in flight stay so on disk.
func (s *Spool) Close() error {
	if err := s.enter(context.Background()); err != nil {
		return nil //nolint:nilerr // closed already
	}
	defer s.leave()
	if s.timer != nil {
		s.timer.Stop()
	}
	var err error
	if len(s.acked) > 0 {
		err = s.commit("delete what was acknowledged", (*txn).write)
	}
	s.closed = true
	close(s.ended)
	s.closeFiles()
	return errors.Join(err, s.lock.Close())
}

func (s *Spool) closeFiles() {
	for _, f := range s.files {
		_ = f.close()
	}
	s.files = nil
}

// enter takes the gate, leave gives it back.
func (s *Spool) enter(ctx context.Context) error {
	select {
	case <-s.gate:
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.closed {
		s.leave()
		return ErrClosed
	}
	return nil
}

func (s *Spool) leave() { s.gate <- struct{}{} }

// Epoch is the random number that makes the sequences of this store unique. It
// changes only where a power cut tore a transaction.
func (s *Spool) Epoch() uint64 {
	<-s.gate
	defer s.leave()
	return s.epoch
}

// NextSeq is the sequence that the next record must carry. After an error of
// Append it says whether the records were stored after all.
func (s *Spool) NextSeq() uint64 {
	<-s.gate
	defer s.leave()
	if s.stale && !s.closed {
		_ = s.refresh()
	}
	return s.next
}

// State is the alarm state as last committed, in the order of its keys.
func (s *Spool) State() ([]uplink.Entry, error) {
	if err := s.enter(context.Background()); err != nil {
		return nil, err
	}
	defer s.leave()
	if err := s.refresh(); err != nil {
		return nil, err
	}
	var state []uplink.Entry
	err := s.view(func(t *txn) error {
		return t.each(bucketState, func(key, raw []byte) error {
			state = append(state, uplink.Entry{Key: string(key), Value: raw})
			return nil
		})
	})
	return state, err
}

func (s *Spool) head() *file { return s.files[len(s.files)-1] }

func (s *Spool) fileNumbered(n uint64) *file {
	for _, f := range s.files {
		if f.number == n {
			return f
		}
	}
	return nil
}
