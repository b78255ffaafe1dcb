package spool

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/uplink"
)

// TestKillChild is not a test: it is the process that TestKill kills. It stores,
// sends and acknowledges, and says on its standard output what it knows to be so.
func TestKillChild(t *testing.T) {
	dir := os.Getenv("SPOOL_KILL_DIR")
	if dir == "" {
		t.Skip("started by TestKill alone")
	}
	s, err := Open(dir, Options{FileBytes: minFileBytes})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	say := func(what string, lane int32, records []uplink.Record) {
		line := fmt.Appendf(nil, "%s %d", what, lane)
		for i := range records {
			line = strconv.AppendUint(append(line, ' '), records[i].Seq, 10)
		}
		mu.Lock()
		defer mu.Unlock()
		_, _ = os.Stdout.Write(append(line, '\n'))
	}
	left, err := s.InFlight(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	acknowledge := func(b uplink.Batch) {
		if err := s.Done(b); err != nil {
			t.Error(err)
		}
		say("done", b.Partition, b.Records)
	}
	for _, b := range left {
		say("flying", b.Partition, b.Records)
		acknowledge(b)
	}
	for p := range int32(modelLanes) {
		go func() {
			for {
				b, err := s.Next(context.Background(), uplink.Lane{Topic: "events", Partition: p, Partitions: modelLanes})
				if err != nil {
					return
				}
				say("flying", p, b.Records)
				time.Sleep(rand.N(3 * time.Millisecond))
				acknowledge(b)
			}
		}()
	}
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 1))
	for {
		records := events(s, rnd, 1+rnd.IntN(60))
		say("storing", 0, records)
		if err := s.Append(t.Context(), records, nil); err != nil {
			t.Fatal(err)
		}
		say("stored", 0, records)
	}
}

// TestKill kills a process with SIGKILL at random moments, over and over, and
// holds what is on disk against what the process had said. SPOOL_KILLS says how
// often. A process that is killed keeps its unsynced writes, so this test cannot
// tell that fsync is left out: only a power cut can.
func TestKill(t *testing.T) {
	rounds := 20
	if n, err := strconv.Atoi(os.Getenv("SPOOL_KILLS")); err == nil {
		rounds = n
	}
	w := witness{t: t, dir: t.TempDir(), stored: map[uint64]bool{}, done: map[uint64]int{}, flying: map[int32][]uint64{}}
	for range rounds {
		w.round()
	}
	t.Logf("%d kills, %d events stored, %d acknowledged", rounds, len(w.stored), len(w.done))
	if len(w.done) == 0 {
		t.Error("nothing was ever acknowledged: the test tests nothing")
	}
}

// witness remembers what the killed processes said.
type witness struct {
	t       *testing.T
	dir     string
	stored  map[uint64]bool
	storing []uint64           // the last Append, which perhaps did not return
	done    map[uint64]int     // how often acknowledged
	flying  map[int32][]uint64 // the last batch of a lane
	ended   map[int32]bool     // it was acknowledged
}

func (w *witness) round() {
	child := exec.Command(os.Args[0], "-test.run=^TestKillChild$")
	child.Env = append(os.Environ(), "SPOOL_KILL_DIR="+w.dir)
	out, err := child.StdoutPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.storing, w.ended = nil, map[int32]bool{}
	in := bufio.NewReader(out)
	kill := time.AfterFunc(time.Hour, func() { _ = child.Process.Kill() })
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // what it was about to say is not known
		}
		if len(w.storing) == 0 {
			kill.Reset(rand.N(100 * time.Millisecond))
		}
		w.hear(strings.Fields(line))
	}
	_ = child.Wait()
	w.look()
}

func (w *witness) hear(words []string) {
	if len(words) < 2 {
		return
	}
	var seqs []uint64
	for _, word := range words[2:] {
		n, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			w.t.Fatalf("the process said %q", words)
		}
		seqs = append(seqs, n)
	}
	lane, _ := strconv.Atoi(words[1])
	p := int32(lane)
	switch words[0] {
	case "storing":
		w.storing = seqs
	case "stored":
		for _, n := range seqs {
			w.stored[n] = true
		}
	case "flying":
		if before := w.flying[p]; before != nil && !w.ended[p] && !slices.Equal(before, seqs) {
			w.t.Fatalf("lane %d: %v was in flight, then %v", p, before, seqs)
		}
		w.flying[p], w.ended[p] = seqs, false
	case "done":
		for _, n := range seqs {
			w.done[n]++
		}
		w.ended[p] = true
	default:
		w.t.Fatalf("the process said %q", words)
	}
}

func (w *witness) look() {
	s, err := Open(w.dir, Options{FileBytes: minFileBytes})
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	have := map[uint64]string{}
	err = s.Walk(func(r uplink.Record, where string) error {
		have[r.Seq] = where
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	for seq := range w.stored {
		if have[seq] == "" && w.done[seq] == 0 {
			w.t.Fatalf("event %d was stored and is lost", seq)
		}
		if strings.HasPrefix(have[seq], "queued") && w.done[seq] > 0 {
			w.t.Fatalf("event %d was acknowledged and is queued again", seq)
		}
	}
	present := 0
	for _, seq := range w.storing {
		if have[seq] != "" || w.done[seq] > 0 || s.NextSeq() > seq {
			present++
			w.stored[seq] = true
		}
	}
	if present != 0 && present != len(w.storing) {
		w.t.Fatalf("%d of the %d events of one Append are there", present, len(w.storing))
	}
	for seq := range have {
		if !w.stored[seq] {
			w.t.Fatalf("event %d is there and was never stored", seq)
		}
	}
	w.compareFlights(s)
}

func (w *witness) compareFlights(s *Spool) {
	left, err := s.InFlight(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	found := map[int32][]uint64{}
	for _, b := range left {
		for i := range b.Records {
			found[b.Partition] = append(found[b.Partition], b.Records[i].Seq)
		}
	}
	for p, want := range w.flying {
		if want != nil && !w.ended[p] && !slices.Equal(found[p], want) {
			w.t.Fatalf("lane %d had %v in flight, and has %v", p, want, found[p])
		}
	}
	for p, seqs := range found {
		if slices.Equal(seqs, w.flying[p]) {
			w.ended[p] = false // is sent again; the broker knows it
			continue
		}
		for _, seq := range seqs {
			if w.done[seq] > 0 {
				w.t.Fatalf("event %d was acknowledged and is in flight in another batch", seq)
			}
		}
		w.flying[p], w.ended[p] = seqs, false
	}
	for p := range w.flying {
		if found[p] == nil {
			w.flying[p] = nil
		}
	}
}
