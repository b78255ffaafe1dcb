package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	loadChannels = 100
	// one message in this many crosses its channel's limit, and the next comes back
	loadEvent = 100
)

// loadSite judges every channel with all seven detectors and commits fast, so
// that the latency shown is the street's and not the commit's second.
func loadSite(broker string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `[alarms]
realarm = "0s"
[mqtt.load]
broker = %q
qos = 0
topics = [
`, broker)
	for i := range loadChannels {
		fmt.Fprintf(&b, "  {topic = \"load/%d\", pointer = \"/value\", channel = \"machine%d.c%d\", time = \"/time\", time_format = \"unix_ns\"},\n", i, i%5, i)
	}
	b.WriteString("]\n")
	for i := range loadChannels {
		fmt.Fprintf(&b, "[limit.\"machine%d.c%d\"]\nhigh = 1000\n", i%5, i)
	}
	return b.String()
}

// underLoad publishes and says what the agent cost.
func (s *stage) underLoad(ctx context.Context) (bool, error) {
	time.Sleep(time.Second) // the start is over
	before, err := s.child.measure()
	if err != nil {
		return false, err
	}
	began := time.Now()
	s.screen.say("%d messages a second on %d channels, one in %d an event, for %v", s.load, loadChannels, loadEvent, s.length)
	sent, raised := 0, 0
	payload := make([]byte, 0, 128)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for time.Since(began) < s.length && ctx.Err() == nil {
		<-tick.C
		for due := int(time.Since(began).Seconds() * float64(s.load)); sent < due; sent++ {
			channel, n := sent%loadChannels, sent/loadChannels
			value := 20 + float64((n*7+channel)%13)/10
			if n%loadEvent == channel {
				value, raised = 2000, raised+1
			}
			payload = strconv.AppendInt(append(payload[:0], `{"time":`...), time.Now().UnixNano(), 10)
			payload = strconv.AppendFloat(append(payload, `,"unit":"mm/s","quality":"good","machine":"m1","value":`...), value, 'g', -1, 64)
			if err := s.broker.server.Publish("load/"+strconv.Itoa(channel), append(payload, '}'), false, 0); err != nil {
				return false, fmt.Errorf("publish: %w", err)
			}
		}
	}
	took := time.Since(began)
	after, err := s.child.measure()
	if err != nil {
		return false, err
	}
	s.settle(ctx)
	return s.account(sent, raised, took, before, after), nil
}

// account prints the figures.
func (s *stage) account(sent, raised int, took time.Duration, before, after usage) bool {
	cpu := after.cpu - before.cpu
	fmt.Printf("agent: %d messages in %v, %.0f/s; CPU %.1f %% of a core, %.1f s per million messages; memory (RssAnon) %.1f MiB\n", sent, took.Round(time.Millisecond),
		float64(sent)/took.Seconds(), 100*cpu.Seconds()/took.Seconds(), cpu.Seconds()*1e6/float64(sent), float64(after.rss)/(1<<20))
	l := s.seen.raises()
	if len(l) > 0 {
		slices.Sort(l)
		at := func(q float64) time.Duration { return l[int(q*float64(len(l)-1))].Round(100 * time.Microsecond) }
		fmt.Printf("latency of %d raised events, from the reading to the consumer: p50 %v, p90 %v, p99 %v, most %v\n", len(l), at(.5), at(.9), at(.99), at(1))
	}
	fmt.Printf("events raised %d, delivered %d, lost %d, duplicated %d\n", raised, len(l), raised-len(l), s.seen.duplicates())
	return raised > 0 && len(l) == raised && s.seen.missing() == 0 && s.seen.duplicates() == 0
}
