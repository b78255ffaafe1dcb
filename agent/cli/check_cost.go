package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/config"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// What things cost, as measured. A channel's figures are those of the learned
// detectors of "auto" after 2,000 readings; what goes to Kafka is compressed with
// zstd, in a cluster of six partitions a topic.
const (
	cpuPerReading = 4.3e-6 // s of an x86 core, MQTT message to verdict: README, "What it costs"
	baseMemory    = 8e6    // bytes of the agent without channels
	channelMemory = 14e3   // bytes a channel, with what the garbage collector lets lie
	sampleBytes   = 24     // of one reading in the queue
	channelState  = 16.5e3 // bytes written for a channel when what was learned is saved
	savesADay     = 24     // agent/pipeline: once an hour
	commitFlash   = 24e3   // bytes at the device for one commit, whatever it holds

	statusEvery  = 60   // s
	statusRecord = 1000 // bytes, and
	statusSource = 100  // for each source
	feedBatch    = 600  // bytes of a window in a partition, beside its rows
	feedMost     = 6    // partitions that a window goes to; at most one a machine
	scoreRow     = 21   // bytes of a channel in a window
	sampleRow    = 30

	day = 86400.0 // s
)

// cost is one line of the table.
type cost struct {
	what, usual, worst, because string
}

type costs []cost

// print writes the table.
func (c costs) print(p *printer) {
	p.line("")
	t := p.table("cost", "usual", "at worst", "because")
	for _, row := range c {
		t.row(row.what, row.usual, row.worst, row.because)
	}
	t.end()
}

// costs estimates what the site costs the gateway and the network.
func (s *site) costs() costs {
	all := costs{s.cpu(), s.memory(), s.events(), s.status()}
	if u := s.cfg.Uplink.Scores; u != nil {
		all = append(all, s.feed("scores to Kafka", u.Channels, u.Every, scoreRow))
	}
	if u := s.cfg.Uplink.Samples; u != nil {
		all = append(all, s.feed("readings to Kafka", u.Channels, u.Every, sampleRow))
	}
	all = append(all, s.flash())
	if _, more := s.channels(); more {
		all = append(all, cost{"a channel found later", "+" + volume(channelMemory) + " memory", "",
			fmt.Sprintf("and %s/day of flash", volume(channelState*savesADay))})
	}
	return all
}

func (s *site) cpu() cost {
	rate, more := s.rate()
	if more {
		return cost{"CPU", "?", "", number(100*1000*cpuPerReading) + " % of an x86 core for 1000 readings/s; an ARM core takes several times that"}
	}
	return cost{"CPU", number(math.Max(math.Round(1000*rate*cpuPerReading)/10, 0.1)) + " %", "", "of an x86 core; an ARM core takes several times that"}
}

func (s *site) memory() cost {
	n, _ := s.channels()
	idle := baseMemory + float64(n)*channelMemory
	return cost{"memory", volume(idle), volume(idle + float64(s.cfg.Agent.Buffer*sampleBytes)),
		fmt.Sprintf("%s and %s a channel; at worst the queue is full", volume(baseMemory), volume(channelMemory))}
}

// events is about alarms that nobody can foresee: what is promised of false ones,
// and what a real one costs.
func (s *site) events() cost {
	size := s.eventBytes()
	c := cost{"events to Kafka", perDay(2 * s.falseAlarms() * size), volume(size) + " a reading",
		s.cfg.Detect.FalseAlarms + " and channel, as promised of false alarms; at worst each alarm that goes on"}
	if every := time.Duration(s.cfg.Alarms.Update); every > 0 {
		c.worst = volume(size*time.Hour.Seconds()/every.Seconds()) + "/h"
	}
	return c
}

// falseAlarms is how many the learned detectors may raise in a day.
func (s *site) falseAlarms() float64 {
	every := s.cfg.Detect.FalseAlarmEvery()
	if every <= 0 {
		return 0
	}
	return float64(s.learned()) * day / every.Seconds()
}

func (s *site) status() cost {
	size := float64(statusRecord + statusSource*len(s.feeds))
	return cost{"status to Kafka", perDay(size * day / statusEvery), "", "about " + volume(size) + " each minute"}
}

func (s *site) feed(what string, names []string, every config.Duration, row float64) cost {
	channels, machines := s.chosen(names)
	size := feedBatch*float64(min(machines, feedMost)) + row*float64(channels)
	because := fmt.Sprintf("%s, %s every %s", plural(channels, "channel"), volume(size), every)
	if codec := s.cfg.Kafka.Codec; codec != "zstd" {
		because += " with zstd; more with codec = " + quote(codec)
	}
	return cost{what, perDay(size * day / time.Duration(every).Seconds()), "", because}
}

func (s *site) flash() cost {
	saved := float64(s.learned()) * channelState
	usual := savesADay*(saved+commitFlash) + 2*s.falseAlarms()*commitFlash
	worst := usual + day/time.Duration(s.cfg.Spool.Commit).Seconds()*commitFlash
	return cost{"flash", perDay(usual), perDay(worst), fmt.Sprintf("%s an event, %s an hour of what was learned; at worst a write every %s, %s a year",
		volume(commitFlash), volume(saved+commitFlash), s.cfg.Spool.Commit, volume(365*worst))}
}

func perDay(bytes float64) string { return volume(bytes) + "/day" }

// learned is how many channels have detectors that learn.
func (s *site) learned() (n int) {
	for _, g := range s.judged {
		for _, name := range []string{"ewma", "robust_z", "cusum", "rate"} {
			if strings.Contains(g.detectors, name) {
				n += len(g.channels)
				break
			}
		}
	}
	return n
}

// chosen is how many of the known channels a list of names asks for, and of how
// many machines they are.
func (s *site) chosen(names []string) (channels, machines int) {
	wanted, of := config.Wanted(names), map[string]bool{}
	for _, f := range s.feeds {
		for _, c := range f.channels {
			if wanted == nil || wanted(c.Name) {
				channels++
				of[config.MachineOf(c.Name)] = true
			}
		}
	}
	return channels, len(of)
}

// eventBytes is the size of an event as this site would send it, with its
// headers, before compression.
func (s *site) eventBytes() float64 {
	c := sensors.Channel{Name: "machine.quantity"}
	if len(s.judged) > 0 {
		c = s.judged[0].channels[0]
	}
	channel := describe(s.cfg, c)
	size := 0
	emit := func(r uplink.Record, _ uplink.Entry) {
		const headers = 190 // names and lengths of the eight, content-type, specversion, time
		size = len(r.Body) + len(r.Key) + len(r.ID()) + len(r.Source) + len(r.Type) + len(r.Subject) + headers
	}
	bell := alarms.NewBell(alarms.Settings{}, origin(s.cfg), math.MaxUint64, 1000, emit)
	const moment = 1790000000123456789
	bell.Find(&channel, alarms.Process, &alarms.Alarm{}, alarms.Finding{Time: moment, Value: 12.345678901234,
		Verdict: detectors.Verdict{Score: 0.7654321, Low: 1.234567890123, High: 9.876543210123, Reason: detectors.Unusual},
		Traits:  detectors.Traits{Name: "robust_z", Severity: detectors.Medium}})
	return float64(size)
}

func origin(cfg *config.Config) alarms.Origin {
	return alarms.Origin{Device: cfg.Site.Device, Site: sitePath(cfg), Source: sourcePath(cfg), Version: versionText()}
}
