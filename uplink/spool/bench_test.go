package spool

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/uplink"
)

// event is one of about 330 bytes, of the kind the agent makes.
func event(rnd *rand.Rand, epoch, seq uint64) uplink.Record {
	machine := "pump" + strconv.Itoa(rnd.IntN(20))
	severity := detectors.Low + detectors.Severity(rnd.IntN(2))
	value := 2 + 8*rnd.Float64()
	return uplink.Record{
		Epoch: epoch, Seq: seq, Alarm: seq, State: uplink.Raised, Severity: severity, Time: 1_795_000_000_000_000_000 + int64(seq)*7_000_000,
		Device: "gw-0042", Source: "/acme/plant3/press-shop/line1/gw-0042", Type: "tocsin.alarm.raised.v1",
		Subject: machine + ".vibration", Key: "acme/plant3/press-shop/line1/" + machine,
		Body: fmt.Appendf(nil, `{"alarm_id":%q,"state":"raised","severity":%q,"machine":%q,"channel":"%s.vibration","value":%.3f,"unit":"mm/s","expected":{"low":%.2f,"high":%.2f},"score":%.3f,"detector":"ewma","since":"2026-11-23T12:%02d:%02d.%03dZ","quality":"good","message":"%s.vibration has shifted up","seq":%d}`,
			uplink.ID("gw-0042", epoch, seq), severity, machine, machine, value, value*0.3, value*0.8, rnd.Float64(), rnd.IntN(60), rnd.IntN(60), rnd.IntN(1000), machine, seq),
	}
}

func events(s *Spool, rnd *rand.Rand, n int) []uplink.Record {
	records := make([]uplink.Record, n)
	epoch, next := s.Epoch(), s.NextSeq()
	for i := range records {
		records[i] = event(rnd, epoch, next+uint64(i))
		if i%2 == 1 { // raised and cleared: no alarm stays open
			records[i].Alarm, records[i].State, records[i].Severity = records[i-1].Seq, uplink.Cleared, records[i-1].Severity
		}
	}
	return records
}

// deviceBytes is what this process has had written to disks.
func deviceBytes(b *testing.B) int64 {
	raw, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip(err)
	}
	for line := range bytes.Lines(raw) {
		if n, ok := bytes.CutPrefix(line, []byte("write_bytes: ")); ok {
			v, _ := strconv.ParseInt(string(bytes.TrimSpace(n)), 10, 64)
			return v
		}
	}
	return 0
}

// cpuTime is what this process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// cost is what a part of a benchmark used: CPU seconds and bytes to disks.
type cost struct {
	cpu  time.Duration
	disk int64
}

func costNow(b *testing.B) cost { return cost{cpuTime(b), deviceBytes(b)} }

func (c *cost) addSince(b *testing.B, from cost) {
	now := costNow(b)
	c.cpu += now.cpu - from.cpu
	c.disk += now.disk - from.disk
}

// perEvent reports the cost of n events in each iteration. µs of CPU an event
// are CPU seconds per million.
func (c cost) perEvent(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/event")
	b.ReportMetric(c.cpu.Seconds()*1e6/float64(b.N*n), "cpu-s/million")
	b.ReportMetric(float64(c.disk)/float64(b.N*n), "disk-B/event")
}

func benchSpool(b *testing.B) *Spool {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// BenchmarkAppend stores events while Kafka is away.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s, rnd := benchSpool(b), rand.New(rand.NewPCG(1, 1))
			b.ReportAllocs()
			var used cost
			for b.Loop() {
				b.StopTimer()
				records, from := events(s, rnd, n), costNow(b)
				b.StartTimer()
				if err := s.Append(b.Context(), records, nil); err != nil {
					b.Fatal(err)
				}
				used.addSince(b, from)
			}
			used.perEvent(b, n)
		})
	}
}

// BenchmarkLife stores events, has them sent and acknowledged by three lanes
// that wait, as with a Kafka that answers.
func BenchmarkLife(b *testing.B) {
	for _, n := range []int{1, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s, rnd := benchSpool(b), rand.New(rand.NewPCG(1, 1))
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			acked := make(chan int, 100)
			for p := range int32(3) {
				go func() {
					for {
						batch, err := s.Next(ctx, uplink.Lane{Topic: "events", Partition: p, Partitions: 3})
						if err != nil {
							return
						}
						_ = s.Done(batch)
						acked <- len(batch.Records)
					}
				}()
			}
			b.ReportAllocs()
			var used cost
			for b.Loop() {
				b.StopTimer()
				records, from := events(s, rnd, n), costNow(b)
				b.StartTimer()
				if err := s.Append(b.Context(), records, nil); err != nil {
					b.Fatal(err)
				}
				for left := n; left > 0; {
					left -= <-acked
				}
				used.addSince(b, from)
			}
			used.perEvent(b, n)
		})
	}
}

// BenchmarkDrain sends a backlog of 100,000 over three lanes.
func BenchmarkDrain(b *testing.B) {
	const n = 100_000
	b.ReportAllocs()
	var used cost
	for b.Loop() {
		b.StopTimer()
		s, rnd := benchSpool(b), rand.New(rand.NewPCG(1, 1))
		for range n / 1000 {
			if err := s.Append(b.Context(), events(s, rnd, 1000), nil); err != nil {
				b.Fatal(err)
			}
		}
		from := costNow(b)
		b.StartTimer()
		for left := n; left > 0; {
			for p := range int32(3) {
				ctx, cancel := context.WithTimeout(b.Context(), time.Millisecond)
				batch, err := s.Next(ctx, uplink.Lane{Topic: "events", Partition: p, Partitions: 3})
				cancel()
				if err != nil {
					continue
				}
				if err := s.Done(batch); err != nil {
					b.Fatal(err)
				}
				left -= len(batch.Records)
			}
		}
		used.addSince(b, from)
	}
	used.perEvent(b, n)
}

// BenchmarkOpen is from Open to the first batch, with 200,000 events queued in
// blocks of so many.
func BenchmarkOpen(b *testing.B) {
	for _, each := range []int{20, 1000} {
		b.Run(strconv.Itoa(each), func(b *testing.B) {
			dir := b.TempDir()
			s, err := Open(dir, Options{NoSync: true})
			if err != nil {
				b.Fatal(err)
			}
			rnd := rand.New(rand.NewPCG(1, 1))
			for range 200_000 / each {
				if err := s.Append(b.Context(), events(s, rnd, each), nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				b.Fatal(err)
			}
			var opened time.Duration
			for b.Loop() {
				start := time.Now()
				s, err := Open(dir, Options{})
				if err != nil {
					b.Fatal(err)
				}
				opened += time.Since(start)
				lane := uplink.Lane{Topic: "events", Partition: 0, Partitions: 3}
				batch, err := s.Next(b.Context(), lane)
				if err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				if _, err := s.Rewrite(b.Context(), batch, 0, uplink.Producer{}, 0, false); err != nil {
					b.Fatal(err)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(opened.Microseconds())/float64(b.N), "µs/open-alone")
		})
	}
}
