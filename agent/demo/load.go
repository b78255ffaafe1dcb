package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// load is what the agent's cost is measured under.
type load struct {
	on       bool
	rate     int // messages a second; 0: none, what an idle agent costs
	channels int
	qos      int
	percent  int // of the messages are above their channel's limit
	commit   time.Duration
}

func (l *load) flags(f *flag.FlagSet) {
	number := func(to *int, suffix string, least, most int) func(string) error {
		return func(s string) error {
			n, err := strconv.Atoi(strings.TrimSuffix(s, suffix))
			if err != nil || n < least || n > most {
				return fmt.Errorf("give a number from %d to %d, like %d%s", least, most, (least+most)/100, suffix)
			}
			*to = n
			return nil
		}
	}
	rate := number(&l.rate, "/s", 0, 1_000_000)
	l.percent = 1
	f.Func("load", "publish `N/s` messages instead, and say what the agent costs; 0/s: what it costs idle", func(s string) error {
		l.on = true
		return rate(s)
	})
	f.IntVar(&l.channels, "channels", 100, "under load: how many channels the messages are spread over")
	f.IntVar(&l.qos, "qos", 0, "under load: MQTT's quality of service, 0 or 1")
	f.Func("events", "under load: how many of the messages are above their channel's limit, `N%` (default 1%); 100%: every message is an event", number(&l.percent, "%", 0, 100))
	f.DurationVar(&l.commit, "commit", 5*time.Millisecond, "under load: the agent's [spool] commit")
}

// check says what cannot be measured.
func (l *load) check() error {
	switch {
	case l.channels < 1 || l.channels > 20_000:
		return errors.New("--channels is from 1 to 20000")
	case l.qos < 0 || l.qos > 1:
		return errors.New("--qos is 0 or 1")
	case l.percent > 0 && 100%l.percent != 0:
		return errors.New("--events is 0%, 100% or a part of a hundred without a rest: 1%, 2%, 10%, 50%")
	}
	return nil
}

// every is how many messages of a channel go to one above its limit; 0: none is.
func (l *load) every() int {
	if l.percent == 0 {
		return 0
	}
	return 100 / l.percent
}

// site judges every channel with the seven statistical detectors, and commits
// fast, so that the latency shown is the street's and not the commit's second.
// Where every message is to be an event, an alarm that goes on is told of again
// at each.
func (l *load) site(broker string) string {
	var b strings.Builder
	update := "1m"
	if l.percent == 100 {
		update = "0s"
	}
	fmt.Fprintf(&b, "commit = %q\n[alarms]\nrealarm = \"0s\"\nupdate = %q\n[mqtt.load]\nbroker = %q\nqos = %d\n", l.commit, update, broker, l.qos)
	b.WriteString("topics = [{topic = \"load/+/+\", pointer = \"/value\", channel = \"{1}.{2}\", time = \"/time\", time_format = \"unix_ns\"}]\n")
	for i := range min(machines, l.channels) {
		fmt.Fprintf(&b, "[machine.m%d]\ndetectors = [\"limit\", \"ewma\", \"robust_z\", \"cusum\", \"rate\", \"stuck\", \"silence\"]\n", i)
	}
	for i := range l.channels {
		fmt.Fprintf(&b, "[limit.\"m%d.c%d\"]\nhigh = 1000\n", i%machines, i)
	}
	return b.String()
}

// machines is how many share the channels: each is a Kafka key of its own.
const machines = 5

// publisher sends the load, and counts.
type publisher struct {
	load
	publish func(topic string, payload []byte, qos byte) error
	topics  []string
	payload []byte
	sent    int
	above   int // their channel's limit
}

func newPublisher(l load, b *broker) *publisher {
	p := &publisher{load: l, publish: func(topic string, payload []byte, qos byte) error {
		return b.server.Publish(topic, payload, false, qos)
	}}
	for i := range l.channels {
		p.topics = append(p.topics, fmt.Sprintf("load/m%d/c%d", i%machines, i))
	}
	return p
}

// run publishes at the rate until the time is over. What is due goes out every
// 2 ms, as from a broker that hears many sensors.
func (p *publisher) run(ctx context.Context, length time.Duration) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < length && ctx.Err() == nil; <-tick.C {
		for due := int(time.Since(began).Seconds() * float64(p.rate)); p.sent < due; p.sent++ {
			if err := p.one(p.sent); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
	}
	return nil
}

// one publishes message i: about 85 bytes, the time of measuring and the value
// among them. The channels take turns.
func (p *publisher) one(i int) error {
	channel, n := i%p.channels, i/p.channels
	value := 20 + float64((n*7+channel)%13)/10
	if every := p.every(); every > 0 && n%every == channel%every {
		value = 2000 + value
		p.above++
	}
	p.payload = strconv.AppendInt(append(p.payload[:0], `{"time":`...), time.Now().UnixNano(), 10)
	p.payload = strconv.AppendFloat(append(p.payload, `,"unit":"mm/s","quality":"good","machine":"m1","value":`...), value, 'g', -1, 64)
	p.payload = append(p.payload, '}')
	return p.publish(p.topics[channel], p.payload, byte(p.qos))
}
