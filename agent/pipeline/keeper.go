package pipeline

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// A commit is made when this much has gathered, or when its time has come.
const (
	commitRecords = 256
	commitBytes   = 256 << 10
	// most is how far a commit may grow with what already waits when it is made.
	most = 1024
)

// event is what the bell emits: a record and the alarm state that goes with it.
type event struct {
	record uplink.Record
	state  uplink.Entry
}

// Keeper gathers events and commits them to the spool together: a commit costs
// the flash about 24 kB whatever it holds. A critical event does not wait.
type Keeper struct {
	Spool uplink.Spool
	Log   *slog.Logger

	commit  atomic.Int64 // time.Duration that events gather for
	in      chan event
	Pending atomic.Int64          // events not yet on disk
	Trouble atomic.Pointer[error] // why the last commit did not succeed; nil when it did

	records []uplink.Record
	state   []uplink.Entry
	slot    map[string]int // where in state a key stands
	bytes   int
	urgent  bool
}

// NewKeeper makes a keeper. waiting bounds the events that are not yet gathered;
// when they are that many, Emit blocks.
func NewKeeper(s uplink.Spool, commit time.Duration, waiting int, log *slog.Logger) *Keeper {
	k := &Keeper{Spool: s, Log: log, in: make(chan event, waiting), slot: map[string]int{}}
	k.Every(commit)
	return k
}

// Every sets how long events may gather before they are committed. It may be
// called at any time and holds from the next commit on.
func (k *Keeper) Every(commit time.Duration) { k.commit.Store(int64(commit)) }

// Emit takes an event from the bell.
func (k *Keeper) Emit(r uplink.Record, state uplink.Entry) {
	k.Pending.Add(1)
	k.in <- event{r, state}
}

// Close says that nothing more will be emitted.
func (k *Keeper) Close() { close(k.in) }

// Run commits until Close was called and everything is on disk. hard ends the
// attempts of a disk that does not take the last events.
func (k *Keeper) Run(hard context.Context) {
	for {
		e, open := <-k.in
		if !open {
			return
		}
		k.add(e)
		open = k.gather()
		k.store(hard)
		if !open {
			return
		}
	}
}

// gather adds events until the commit is due. It reports false once the bell is
// silent for good.
func (k *Keeper) gather() (open bool) {
	due := time.NewTimer(time.Duration(k.commit.Load()))
	defer due.Stop()
	for !k.urgent && len(k.records) < commitRecords && k.bytes < commitBytes {
		select {
		case e, open := <-k.in:
			if !open {
				return false
			}
			k.add(e)
		case <-due.C:
			return true
		}
	}
	for len(k.records) < most { // what already waits goes along
		select {
		case e, open := <-k.in:
			if !open {
				return false
			}
			k.add(e)
		default:
			return true
		}
	}
	return true
}

func (k *Keeper) add(e event) {
	k.records = append(k.records, e.record)
	k.bytes += len(e.record.Body)
	k.urgent = k.urgent || e.record.Severity >= detectors.Critical
	if i, ok := k.slot[e.state.Key]; ok {
		k.state[i] = e.state
		return
	}
	k.slot[e.state.Key] = len(k.state)
	k.state = append(k.state, e.state)
}

// store writes what was gathered and does not give up: nothing is lost while
// there is memory, and the bell waits when there is none.
func (k *Keeper) store(hard context.Context) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		err := k.Spool.Append(hard, k.records, k.state)
		if err == nil {
			k.Trouble.Store(nil)
			break
		}
		k.Trouble.Store(&err)
		k.Log.Error("events wait in memory", "events", len(k.records), "error", err)
		if !sleep(hard, wait) {
			k.Log.Error("events lost at the stop: the disk did not take them in time", "events", len(k.records))
			break
		}
	}
	k.Pending.Add(-int64(len(k.records)))
	clear(k.records)
	clear(k.state)
	clear(k.slot)
	k.records, k.state, k.bytes, k.urgent = k.records[:0], k.state[:0], 0, false
}

// sleep waits and reports whether ctx is still on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
