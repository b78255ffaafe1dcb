// Package simulate is a pump set without the pumps: for the demonstration, for
// tests, and for a gateway whose sensors are not wired yet. Plant is the model,
// a pure function of plant time; New makes a sensors.Source of it.
package simulate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tocsin/sensors"
)

// Options describe a set of pumps. Every time is plant time: Source lets it run
// as the clock does, a test or the demonstration faster.
type Options struct {
	Name     string        // the pumps are called Name1, Name2 …
	Pumps    int           // at least 1
	Interval time.Duration // between two readings of a sensor; of Source alone
	Fault    bool          // let a bearing of pump 1 begin to fail at FaultAt
	FaultAt  time.Duration
	Seed     uint64 // the same seed gives the same readings

	Cycle  time.Duration // of the load; default 10 min
	Faults []Fault       // beside Fault
}

// New makes a source that reads the plant once every Interval and stamps the
// readings with the gateway's clock.
func New(o Options) (sensors.Source, error) {
	if o.Interval < time.Millisecond {
		return nil, fmt.Errorf("interval %v: it must be 1ms or more", o.Interval)
	}
	plant, err := NewPlant(o)
	if err != nil {
		return nil, err
	}
	return sensors.Poll(&poller{plant: plant, interval: o.Interval}, o.Interval), nil
}

// poller lets plant time pass by one interval a read, so that a late read
// changes no value.
type poller struct {
	plant    *Plant
	interval time.Duration
	at       time.Duration
	readings []Reading
	samples  []sensors.Sample
}

func (p *poller) Channels() []sensors.Channel { return p.plant.Channels() }

func (p *poller) Open(context.Context) error { return nil }

func (p *poller) Close() error { return nil }

func (p *poller) Read(ctx context.Context, out *sensors.Writer) error {
	p.readings = p.plant.Step(p.at, p.readings[:0])
	p.at += p.interval
	now := sensors.Steady()
	p.samples = p.samples[:0]
	for _, r := range p.readings {
		p.samples = append(p.samples, sensors.Sample{Time: now, Channel: sensors.ChannelID(r.Channel), Value: r.Value})
	}
	return out.Put(ctx, p.samples...)
}

func (o *Options) check() error {
	if o.Name == "" {
		return errors.New("the pumps have no name")
	}
	if o.Pumps < 1 {
		return fmt.Errorf("%d pumps: there must be at least one", o.Pumps)
	}
	if o.Cycle < 0 || o.FaultAt < 0 {
		return fmt.Errorf("cycle %v, fault_at %v: neither may be negative", o.Cycle, o.FaultAt)
	}
	if o.Cycle == 0 {
		o.Cycle = 10 * time.Minute
	}
	return nil
}
