package main

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// settled is how long the agent's start may take before its cost is measured.
const settled = time.Second

// underLoad publishes and says what the agent cost. Only the agent's own process
// is measured; the brokers, the sensors and the consumer are in this one.
func (s *stage) underLoad(ctx context.Context) (bool, error) {
	time.Sleep(settled)
	p := newPublisher(s.load, s.broker)
	before, err := s.child.measure()
	if err != nil {
		return false, err
	}
	s.screen.say("%d messages a second on %d channels at QoS %d, %d %% above their limit, for %v", s.load.rate, s.load.channels, s.load.qos, s.load.percent, s.length)
	began := time.Now()
	if err := p.run(ctx, s.length); err != nil {
		return false, err
	}
	took := time.Since(began)
	after, err := s.child.measure()
	if err != nil {
		return false, err
	}
	fmt.Printf("agent: CPU %.2f %% of a core; memory (RssAnon) %.1f MiB\n", 100*(after.cpu-before.cpu).Seconds()/took.Seconds(), float64(after.rss)/(1<<20))
	if s.load.rate == 0 {
		return true, nil
	}
	s.settle(ctx)
	if after, err = s.child.measure(); err != nil { // what still waited has cost something too
		return false, err
	}
	fmt.Printf("%d messages in %v, %.0f/s: CPU %.2f s per million\n", p.sent, took.Round(time.Millisecond), float64(p.sent)/took.Seconds(), (after.cpu-before.cpu).Seconds()*1e6/float64(p.sent))
	told, err := s.child.status()
	if err != nil {
		return false, err
	}
	never := p.sent
	for _, source := range told.Sources {
		never -= int(source.Judged)
	}
	return s.account(p.above, never), nil
}

// account prints what became of the messages above their limit, of which each
// raised an alarm or is told of as one that goes on. Where some were never judged,
// as MQTT allows at QoS 0 when a client cannot keep up, nobody knows how many
// events there should be: the gaps in their sequence then tell.
func (s *stage) account(above, never int) bool {
	took, doubled := s.seen.found(), s.seen.duplicates()
	if len(took) > 0 {
		slices.Sort(took)
		at := func(q float64) time.Duration { return took[int(q*float64(len(took)-1))].Round(100 * time.Microsecond) }
		fmt.Printf("latency of %d events, from the reading to the consumer: p50 %v, p90 %v, p99 %v, most %v\n", len(took), at(.5), at(.9), at(.99), at(1))
	}
	lost := max(above-len(took), s.seen.missing())
	if never > 0 {
		lost = s.seen.missing()
		fmt.Printf("%d messages were never judged: the broker or the agent's full queue dropped them; give a lower rate\n", never)
	}
	fmt.Printf("events raised %d, delivered %d, lost %d, duplicated %d\n", len(took)+lost, len(took), lost, doubled)
	return lost == 0 && doubled == 0
}
