package uplinktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tocsin/detectors"
	"tocsin/uplink"
)

// Numbered is a Spool that wants its records numbered.
type Numbered interface {
	uplink.Spool
	Epoch() uint64
	NextSeq() uint64
}

// Spool holds an uplink.Spool to its contract. open opens the one in dir, which
// is empty or was left by an earlier one; a Spool that is not Numbered takes
// epoch 1 and sequences from 1.
func Spool(t *testing.T, open func(t *testing.T, dir string) uplink.Spool) {
	for name, test := range map[string]func(*testing.T, *bench){
		"gives back what was appended":        givesBack,
		"the gravest first, then in order":    gravestFirst,
		"to the partition of the key":         partitioned,
		"Next waits for Append":               nextWaits,
		"Next ends with its context":          nextEnds,
		"Close ends Next":                     closeEndsNext,
		"one batch in flight a lane":          oneInFlight,
		"in flight over a restart":            inFlightStays,
		"acknowledged is gone":                acknowledgedIsGone,
		"Rewrite keeps the first":             rewriteKeeps,
		"Rewrite to another producer":         rewriteProducer,
		"Rewrite to nothing":                  rewriteNothing,
		"Bury takes one away":                 buryTakes,
		"a refused Append stores nothing":     refusedStoresNothing,
		"used by many at once, each one once": manyAtOnce,
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{dir: t.TempDir(), open: open, next: 1, epoch: 1}
			b.start(t)
			defer func() { _ = b.Close() }()
			test(t, b)
		})
	}
}

// bench is a Spool under test that numbers records for it.
type bench struct {
	uplink.Spool
	dir         string
	open        func(*testing.T, string) uplink.Spool
	epoch, next uint64
}

func (b *bench) start(t *testing.T) {
	t.Helper()
	b.Spool = b.open(t, b.dir)
	if n, ok := b.Spool.(Numbered); ok {
		b.epoch, b.next = n.Epoch(), n.NextSeq()
	}
}

func (b *bench) restart(t *testing.T) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b.start(t)
}

// alarms makes a raise for every severity given, all of one machine.
func (b *bench) alarms(severities ...detectors.Severity) []uplink.Record {
	records := make([]uplink.Record, len(severities))
	for i, severity := range severities {
		records[i] = Record(b.epoch, b.next+uint64(i), severity)
	}
	return records
}

func (b *bench) append(t *testing.T, records ...uplink.Record) []uplink.Record {
	t.Helper()
	if err := b.Append(t.Context(), records, nil); err != nil {
		t.Fatal(err)
	}
	b.next += uint64(len(records))
	return records
}

// Record makes a raised alarm of machine pump1.
func Record(epoch, seq uint64, severity detectors.Severity) uplink.Record {
	return uplink.Record{
		Epoch: epoch, Seq: seq, Alarm: seq, State: uplink.Raised, Severity: severity,
		Time:   time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano() + int64(seq)*1e6,
		Device: "gw-0042", Source: "/acme/plant3/press-shop/line1/gw-0042",
		Type: "tocsin.alarm.raised.v1", Subject: "pump1.vibration", Key: "acme/plant3/press-shop/line1/pump1",
		Body: fmt.Appendf(nil, `{"seq":%d,"severity":%q,"value":%d.5}`, seq, severity, seq%97),
	}
}

var only = uplink.Lane{Topic: "events", Partition: 0, Partitions: 1, Producer: uplink.Producer{ID: 4711, Epoch: 3}, Sequence: 17}

// take is a batch that must be there.
func (b *bench) take(t *testing.T, lane uplink.Lane) uplink.Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch, err := b.Next(ctx, lane)
	if err != nil {
		t.Fatal(err)
	}
	return batch
}

// none checks that there is nothing for the lane.
func (b *bench) none(t *testing.T, lane uplink.Lane) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if batch, err := b.Next(ctx, lane); err == nil {
		t.Fatalf("there are %d records where none should be", len(batch.Records))
	}
}

func (b *bench) done(t *testing.T, batch uplink.Batch) {
	t.Helper()
	if err := b.Done(batch); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) inFlight(t *testing.T) []uplink.Batch {
	t.Helper()
	batches, err := b.InFlight(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return batches
}

func same(t *testing.T, got, want []uplink.Record) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("records (-want +got):\n%s", diff)
	}
}

func givesBack(t *testing.T, b *bench) {
	records := b.append(t, b.alarms(detectors.High, detectors.High)...)
	want := []uplink.Record{records[0], records[1]}
	want[0].Body = append([]byte{}, records[0].Body...)
	records[0].Body[0] = '#' // the caller's to use again
	batch := b.take(t, only)
	same(t, batch.Records, want)
	if batch.Lane != only {
		t.Errorf("lane %v, want %v", batch.Lane, only)
	}
	if age := time.Since(batch.Since); age < 0 || age > patience {
		t.Errorf("in flight since %v", batch.Since)
	}
}

func gravestFirst(t *testing.T, b *bench) {
	r := b.append(t, b.alarms(detectors.Low, detectors.Critical, detectors.Medium, detectors.Critical)...)
	r = append(r, b.append(t, b.alarms(detectors.High, detectors.Low)...)...)
	same(t, b.take(t, only).Records, []uplink.Record{r[1], r[3], r[4], r[2], r[0], r[5]})
}

func partitioned(t *testing.T, b *bench) {
	var records []uplink.Record
	for i := range 20 {
		r := Record(b.epoch, b.next+uint64(i), detectors.Medium)
		r.Key = fmt.Sprint("acme/plant3/pump", i%7)
		records = append(records, r)
	}
	b.append(t, records...)
	for p := range int32(3) {
		var want []uplink.Record
		for _, r := range records {
			if uplink.Partition(r.Key, 3) == p {
				want = append(want, r)
			}
		}
		lane := uplink.Lane{Topic: "events", Partition: p, Partitions: 3}
		if len(want) == 0 {
			b.none(t, lane)
			continue
		}
		same(t, b.take(t, lane).Records, want)
	}
}

func nextWaits(t *testing.T, b *bench) {
	got := make(chan uplink.Batch)
	go func() {
		batch, _ := b.Next(t.Context(), only)
		got <- batch
	}()
	select {
	case <-got:
		t.Fatal("Next did not wait")
	case <-time.After(10 * time.Millisecond):
	}
	records := b.append(t, b.alarms(detectors.Low)...)
	same(t, (<-got).Records, records)
}

func nextEnds(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Next(ctx, only); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended context: %v", err)
	}
	records := b.append(t, b.alarms(detectors.Low)...)
	same(t, b.take(t, only).Records, records)
}

func closeEndsNext(t *testing.T, b *bench) {
	got := make(chan error)
	go func() {
		_, err := b.Next(t.Context(), only)
		got <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if <-got == nil {
		t.Error("Next returned a batch after Close")
	}
	if b.Append(t.Context(), b.alarms(detectors.Low), nil) == nil {
		t.Error("Append after Close returned nil")
	}
}

func oneInFlight(t *testing.T, b *bench) {
	b.append(t, b.alarms(detectors.Low)...)
	first := b.take(t, only)
	second := b.append(t, b.alarms(detectors.Critical)...)
	b.none(t, only)
	b.done(t, first)
	same(t, b.take(t, only).Records, second)
}

func inFlightStays(t *testing.T, b *bench) {
	b.append(t, b.alarms(detectors.Low, detectors.High, detectors.Low)...)
	sent := b.take(t, only)
	b.append(t, b.alarms(detectors.Critical)...) // must not become a member
	b.restart(t)
	left := b.inFlight(t)
	if len(left) != 1 {
		t.Fatalf("%d batches in flight, want 1", len(left))
	}
	same(t, left[0].Records, sent.Records)
	if left[0].Lane != sent.Lane || left[0].Boot != sent.Boot || !left[0].Since.Equal(sent.Since) {
		t.Errorf("%+v became %+v", sent.Lane, left[0].Lane)
	}
	b.none(t, only)
	b.done(t, left[0])
	if n := len(b.take(t, only).Records); n != 1 {
		t.Errorf("%d records after it, want 1", n)
	}
}

func acknowledgedIsGone(t *testing.T, b *bench) {
	b.append(t, b.alarms(detectors.Low, detectors.High)...)
	batch := b.take(t, only)
	b.done(t, batch)
	b.restart(t)
	if err := b.Done(batch); !errors.Is(err, uplink.ErrNotInFlight) {
		t.Errorf("acknowledged once more: %v", err)
	}
	if left := b.inFlight(t); len(left) != 0 {
		t.Errorf("%d batches in flight after the acknowledgement", len(left))
	}
	b.none(t, only)
	r := b.append(t, b.alarms(detectors.Low)...)
	same(t, b.take(t, only).Records, r)
}

func rewriteKeeps(t *testing.T, b *bench) {
	r := b.append(t, b.alarms(detectors.Low, detectors.Low, detectors.Low, detectors.Low)...)
	batch := b.take(t, only)
	half, err := b.Rewrite(t.Context(), batch, 2, batch.Producer, batch.Sequence, false)
	if err != nil {
		t.Fatal(err)
	}
	same(t, half.Records, r[:2])
	b.restart(t)
	left := b.inFlight(t)
	if len(left) != 1 {
		t.Fatalf("%d batches in flight, want 1", len(left))
	}
	same(t, left[0].Records, r[:2])
	if left[0].Lane != batch.Lane {
		t.Errorf("lane %v became %v", batch.Lane, left[0].Lane)
	}
	b.done(t, left[0])
	same(t, b.take(t, only).Records, r[2:])
}

func rewriteProducer(t *testing.T, b *bench) {
	r := b.append(t, b.alarms(detectors.Low, detectors.High)...)
	batch := b.take(t, only)
	p := uplink.Producer{ID: 9000, Epoch: 0}
	if _, err := b.Rewrite(t.Context(), batch, 2, p, 5, true); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	left := b.inFlight(t)
	if len(left) != 1 || left[0].Producer != p || left[0].Sequence != 5 {
		t.Fatalf("in flight: %+v", left)
	}
	same(t, left[0].Records, []uplink.Record{r[1], r[0]})
}

func rewriteNothing(t *testing.T, b *bench) {
	r := b.append(t, b.alarms(detectors.Low, detectors.Low)...)
	batch := b.take(t, only)
	if _, err := b.Rewrite(t.Context(), batch, 0, uplink.Producer{}, 0, false); err != nil {
		t.Fatal(err)
	}
	if left := b.inFlight(t); len(left) != 0 {
		t.Errorf("%d batches in flight, want none", len(left))
	}
	same(t, b.take(t, only).Records, r)
}

func buryTakes(t *testing.T, b *bench) {
	r := b.append(t, b.alarms(detectors.Low, detectors.Low)...)
	batch := b.take(t, only)
	if b.Bury(t.Context(), batch, "a test") == nil {
		t.Error("two records were buried at once")
	}
	single, err := b.Rewrite(t.Context(), batch, 1, batch.Producer, batch.Sequence, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Bury(t.Context(), single, "a test"); err != nil {
		t.Fatal(err)
	}
	b.restart(t)
	if left := b.inFlight(t); len(left) != 0 {
		t.Errorf("%d batches in flight after a burial", len(left))
	}
	same(t, b.take(t, only).Records, r[1:])
}

func refusedStoresNothing(t *testing.T, b *bench) {
	if _, ok := b.Spool.(Numbered); !ok {
		t.Skip("this Spool does not number its records")
	}
	wrong := b.alarms(detectors.Low, detectors.Low)
	wrong[1].Seq += 5
	wrong[1].Alarm += 5
	if b.Append(t.Context(), wrong, []uplink.Entry{{Key: "a", Value: []byte("1")}}) == nil {
		t.Fatal("a gap in the sequences was taken")
	}
	b.none(t, only)
	right := b.append(t, b.alarms(detectors.Low)...)
	same(t, b.take(t, only).Records, right)
}

func manyAtOnce(t *testing.T, b *bench) {
	const commits, each, lanes = 30, 5, 3
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen, done := map[uint64]int{}, make(chan struct{})
	var mu sync.Mutex
	var wg sync.WaitGroup
	for p := range int32(lanes) {
		wg.Go(func() {
			for {
				batch, err := b.Next(ctx, uplink.Lane{Topic: "events", Partition: p, Partitions: lanes})
				if err != nil {
					return
				}
				mu.Lock()
				for _, r := range batch.Records {
					seen[r.Seq]++
				}
				if len(seen) == commits*each {
					close(done)
				}
				mu.Unlock()
				if err := b.Done(batch); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range commits {
		records := b.alarms(detectors.Low, detectors.High, detectors.Low, detectors.Critical, detectors.Medium)
		for i := range records {
			records[i].Key = fmt.Sprint("machine", records[i].Seq%5)
		}
		b.append(t, records...)
	}
	select {
	case <-done:
	case <-ctx.Done():
		t.Error("not everything came")
	}
	cancel()
	wg.Wait()
	for seq, n := range seen {
		if n != 1 {
			t.Errorf("record %d came %d times", seq, n)
		}
	}
}
