package spool

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// model is what the buffer should be: every record and what became of it.
type model struct {
	t       *testing.T
	rnd     *rand.Rand
	s       *Spool
	dir     string
	options func(*Options)

	records []uplink.Record // by sequence, from 1
	fate    []fate
	grade   map[uint64]detectors.Severity // of alarms
	open    []uint64
	held    map[int32]*uplink.Batch // in flight
	lazy    map[int32]uplink.Batch  // acknowledged, perhaps not on disk yet
	state   map[string]string
	lossy   bool
	reborn  int
	forced  int
	size    int // of bodies, below
	most    int // records an Append, at
}

type fate uint8

const (
	queued fate = iota
	flying
	acknowledged
	dropped
	buried
)

const (
	modelLanes = 3
	tightBytes = 10 * 4 * minFileBytes
)

func (m *model) lane(p int32) uplink.Lane {
	return uplink.Lane{Topic: "events", Partition: p, Partitions: modelLanes, Producer: uplink.Producer{ID: 7}, Sequence: int32(m.rnd.IntN(1000))}
}

// TestModel does random things to a buffer and to the model. A failure prints
// the seed; MODEL_SEED repeats it, MODEL_STEPS makes it longer.
func TestModel(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"roomy": func(*Options) {},
		"tight": func(o *Options) { o.FileBytes, o.MaxBytes = tightBytes/10, tightBytes },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed, steps := rand.Uint64(), 150
			if v, err := strconv.ParseUint(os.Getenv("MODEL_SEED"), 10, 64); err == nil {
				seed = v
			}
			if v, err := strconv.Atoi(os.Getenv("MODEL_STEPS")); err == nil {
				steps = v
			}
			t.Logf("MODEL_SEED=%d", seed)
			m := &model{
				t: t, rnd: rand.New(rand.NewPCG(seed, 1)), dir: fast(t), options: change, lossy: name == "tight",
				grade: map[uint64]detectors.Severity{}, held: map[int32]*uplink.Batch{}, lazy: map[int32]uplink.Batch{},
				state: map[string]string{}, size: 600, most: 40,
			}
			if m.lossy {
				m.size, m.most = 6000, 120
			}
			m.s = small(t, m.dir, change)
			for range steps {
				m.step()
			}
			m.drain()
			st := m.s.Stats()
			t.Logf("%d events, %d dropped, %d buried, %d restarts, forced %d", st.Appended, st.Lost(), st.Buried, m.reborn, m.forced)
			if m.lossy && st.Lost() == 0 {
				t.Error("nothing was dropped: the test tests nothing")
			}
		})
	}
}

func (m *model) step() {
	p := int32(m.rnd.IntN(modelLanes))
	b := m.held[p]
	switch n := m.rnd.IntN(100); {
	case n < 40:
		m.append()
	case n < 62:
		m.next(p)
	case n < 80 && b != nil:
		if err := m.s.Done(*b); err != nil {
			m.t.Fatal(err)
		}
		m.lazy[p] = *b
		m.decide(*b, acknowledged)
		delete(m.held, p)
	case n < 86 && b != nil:
		m.rewrite(p, *b)
	case n < 89 && b != nil && len(b.Records) == 1:
		if err := m.s.Bury(context.Background(), *b, "model"); err != nil {
			m.t.Fatal(err)
		}
		clear(m.lazy)
		m.decide(*b, buried)
		delete(m.held, p)
	case n < 93:
		m.restart(n < 91)
	case n < 97:
		m.compare()
	}
}

func (m *model) decide(b uplink.Batch, f fate) {
	for _, r := range b.Records {
		m.fate[r.Seq-1] = f
	}
}

func (m *model) append() {
	var records []uplink.Record
	for range 1 + m.rnd.IntN(m.most)*m.rnd.IntN(2) {
		seq := uint64(len(m.records) + len(records) + 1)
		r := uplink.Record{Epoch: m.s.Epoch(), Seq: seq, Alarm: seq, State: uplink.Raised, Time: time.Now().UnixNano(), Device: "gw", Source: "/acme/gw", Type: "raised", Subject: "x"}
		r.Severity = detectors.Low + detectors.Severity(m.rnd.IntN(2))
		if m.rnd.IntN(8) == 0 {
			r.Severity = detectors.Low + detectors.Severity(m.rnd.IntN(4))
		}
		r.Key = "machine" + strconv.Itoa(m.rnd.IntN(6))
		if len(m.open) > 0 && m.rnd.IntN(3) > 0 {
			i := m.rnd.IntN(len(m.open))
			r.Alarm, r.State = m.open[i], uplink.Updated
			if m.rnd.IntN(2) == 0 || len(m.open) > 12 {
				r.State = uplink.Cleared
				m.open = slices.Delete(m.open, i, i+1)
			}
			first := r.Alarm - 1
			if first < uint64(len(m.records)) {
				r.Key = m.records[first].Key
			} else {
				r.Key = records[first-uint64(len(m.records))].Key
			}
		} else {
			m.open = append(m.open, seq)
		}
		m.grade[r.Alarm] = max(m.grade[r.Alarm], r.Severity)
		r.Severity = m.grade[r.Alarm]
		r.Body = make([]byte, m.rnd.IntN(m.size))
		for i := range r.Body {
			r.Body[i] = byte(m.rnd.Uint32())
		}
		records = append(records, r)
	}
	key, value := strconv.Itoa(m.rnd.IntN(5)), strconv.Itoa(m.rnd.Int())
	entry := uplink.Entry{Key: key, Value: []byte(value)}
	if m.state[key] = value; m.rnd.IntN(3) == 0 {
		entry.Value = nil
		delete(m.state, key)
	}
	if err := m.s.Append(context.Background(), records, []uplink.Entry{entry}); err != nil {
		m.t.Fatal(err)
	}
	m.records = append(m.records, records...)
	m.fate = append(m.fate, make([]fate, len(records))...)
	clear(m.lazy)
	if m.lossy {
		m.compare()
	}
}

// due is what the lane should get, in order, were there no bounds to a batch.
func (m *model) due(p int32) []uint64 {
	var seqs []uint64
	for i, f := range m.fate {
		if f == queued && uplink.Partition(m.records[i].Key, modelLanes) == p {
			seqs = append(seqs, uint64(i)+1)
		}
	}
	slices.SortFunc(seqs, func(a, b uint64) int {
		return cmp.Or(-cmp.Compare(m.grade[m.records[a-1].Alarm], m.grade[m.records[b-1].Alarm]), cmp.Compare(a, b))
	})
	return seqs
}

func (m *model) next(p int32) {
	due := m.due(p)
	if m.held[p] != nil || len(due) == 0 {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if b, err := m.s.Next(ctx, m.lane(p)); err == nil {
			m.t.Fatalf("lane %d has %d records in flight, %d due, and got %d", p, len(b.Records), len(due), len(b.Records))
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := m.s.Next(ctx, m.lane(p))
	if err != nil {
		m.t.Fatalf("%d are due: %v", len(due), err)
	}
	clear(m.lazy)
	for i, r := range b.Records {
		if r.Seq != due[i] {
			m.t.Fatalf("lane %d: member %d is %d (%s), want %d (%s)", p, i, r.Seq, m.grade[r.Alarm], due[i], m.grade[m.records[due[i]-1].Alarm])
		}
		m.equal(r)
		m.fate[r.Seq-1] = flying
	}
	m.held[p] = &b
}

func (m *model) equal(r uplink.Record) {
	want := m.records[r.Seq-1]
	if !reflect.DeepEqual(r, want) {
		m.t.Fatalf("record %d changed: %v, want %v", r.Seq, r, want)
	}
}

func (m *model) rewrite(p int32, b uplink.Batch) {
	keep := m.rnd.IntN(len(b.Records) + 1)
	producer := uplink.Producer{ID: m.rnd.Int64(), Epoch: 1}
	next, err := m.s.Rewrite(context.Background(), b, keep, producer, 3, m.rnd.IntN(2) == 0)
	if err != nil {
		m.t.Fatal(err)
	}
	clear(m.lazy)
	if len(next.Records) != keep || keep > 0 && next.Producer != producer {
		m.t.Fatalf("kept %d, want %d", len(next.Records), keep)
	}
	for _, r := range b.Records[keep:] {
		m.fate[r.Seq-1] = queued
	}
	if m.held[p] = &next; keep == 0 {
		delete(m.held, p)
	}
}

// restart closes and opens, or crashes: then the files are taken as they are.
func (m *model) restart(crash bool) {
	m.reborn++
	if crash {
		to := fast(m.t)
		copyDir(m.t, m.dir, to)
		m.dir = to
	}
	if err := m.s.Close(); err != nil {
		m.t.Fatal(err)
	}
	if !crash {
		clear(m.lazy)
	}
	m.s, m.forced = small(m.t, m.dir, m.options), 0
	left, err := m.s.InFlight(context.Background())
	if err != nil {
		m.t.Fatal(err)
	}
	for _, b := range left {
		want := m.held[b.Partition]
		if lazy, ok := m.lazy[b.Partition]; want == nil && ok {
			// Acknowledged, but not on disk when it crashed: Kafka knows it.
			want = &lazy
			m.held[b.Partition] = want
			m.decide(b, flying)
		}
		if want == nil || !reflect.DeepEqual(b.Records, want.Records) || b.Lane != want.Lane {
			m.t.Fatalf("lane %d has another batch in flight than it had", b.Partition)
		}
	}
	clear(m.lazy)
	if len(left) != len(m.held) {
		m.t.Fatalf("%d batches in flight, want %d", len(left), len(m.held))
	}
	m.compare()
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	entries, err := os.ReadDir(from)
	for _, e := range entries {
		raw, e2 := os.ReadFile(filepath.Join(from, e.Name()))
		if err == nil {
			err = e2
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(to, e.Name()), raw, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// compare holds the whole content against the model, and learns what was
// dropped: only what may be, and as much as is counted.
func (m *model) compare() {
	have := map[uint64]string{}
	err := m.s.Walk(func(r uplink.Record, where string) error {
		if strings.HasPrefix(where, "dead") {
			return nil
		}
		if have[r.Seq] != "" {
			return fmt.Errorf("record %d is met twice: %s and %s", r.Seq, have[r.Seq], where)
		}
		have[r.Seq] = where
		m.equal(r)
		return nil
	})
	if err != nil {
		m.t.Fatal(err)
	}
	count := map[fate]uint64{}
	for i, f := range m.fate {
		seq := uint64(i) + 1
		where := have[seq]
		_, lazy := m.lazy[uplink.Partition(m.records[i].Key, modelLanes)]
		switch {
		case f == queued && where == "" && m.lossy:
			m.fate[i] = dropped
			m.mayGo(seq, have)
		case f == queued && where != "queued "+m.grade[m.records[i].Alarm].String(),
			f == flying && !strings.HasPrefix(where, "in flight"),
			(f == acknowledged && !lazy || f == dropped || f == buried) && where != "":
			m.t.Fatalf("record %d of fate %d is %q", seq, f, where)
		}
		count[m.fate[i]]++
	}
	lazy := uint64(0)
	for _, b := range m.lazy {
		lazy += uint64(len(b.Records))
	}
	m.forced = m.s.forced
	st := m.s.Stats()
	open := st.Waiting() - count[queued] - count[flying] // acknowledged, not deleted
	if st.Appended != uint64(len(m.records)) || open > lazy || st.Acknowledged+open != count[acknowledged] ||
		st.Lost() != count[dropped] || st.Buried != count[buried] {
		m.t.Fatalf("counted %+v, want %v of %d", st, count, len(m.records))
	}
	if st.Bytes > tightBytes && m.lossy {
		m.t.Fatalf("the buffer has %d bytes, may have %d", st.Bytes, tightBytes)
	}
	state, err := m.s.State()
	if err != nil || len(state) != len(m.state) {
		m.t.Fatalf("state %v, want %v: %v", state, m.state, err)
	}
	for _, e := range state {
		if m.state[e.Key] != string(e.Value) {
			m.t.Fatalf("state %q is %q, want %q", e.Key, e.Value, m.state[e.Key])
		}
	}
}

// mayGo checks that an alarm was dropped as a whole.
func (m *model) mayGo(seq uint64, have map[uint64]string) {
	gone := m.records[seq-1]
	if gone.State == uplink.Updated || m.s.forced > m.forced {
		return
	}
	for i := range m.records {
		if m.records[i].Alarm == gone.Alarm && have[uint64(i)+1] != "" {
			m.t.Fatalf("%s %d of alarm %d was dropped, %s %d of it was kept", gone.State, seq, gone.Alarm, m.records[i].State, i+1)
		}
	}
	if gone.State == uplink.Raised && slices.Contains(m.open, seq) {
		m.t.Fatalf("the raise %d of an open alarm was dropped", seq)
	}
	if gone.State == uplink.Cleared && m.fate[gone.Alarm-1] == acknowledged {
		m.t.Fatalf("the clear %d of a delivered alarm was dropped", seq)
	}
}

// drain delivers all that is left and checks that the folder is small again.
func (m *model) drain() {
	for p := range int32(modelLanes) {
		for {
			if b := m.held[p]; b != nil {
				if err := m.s.Done(*b); err != nil {
					m.t.Fatal(err)
				}
				m.decide(*b, acknowledged)
				delete(m.held, p)
			}
			if len(m.due(p)) == 0 {
				break
			}
			m.next(p)
		}
	}
	m.restart(false)
	if st := m.s.Stats(); st.Waiting() != 0 || st.Files > 1 {
		m.t.Fatalf("drained, there is still %+v", st)
	}
}
