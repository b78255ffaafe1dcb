package cli

import (
	"fmt"
	"math"
	"slices"
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
	channelMemory = 12e3   // bytes a channel, names and routes among them, with what the garbage collector lets lie
	sampleBytes   = 24     // of one reading in the queue
	channelState  = 4.2e3  // bytes written for a channel when what was learned is saved
	savesADay     = 24     // agent/pipeline: once an hour
	commitFlash   = 24e3   // bytes at the device for one commit, whatever it holds

	statusEvery  = 60   // s
	statusRecord = 1000 // bytes, and
	statusSource = 100  // for each source
	feedBatch    = 440  // bytes of a window in a partition, beside its rows
	partitions   = 6    // of a topic; a machine's windows go to one
	scoreRow     = 31   // bytes of a channel in a window
	sampleRow    = 30
	feedChannel  = 416 // bytes of memory for a channel in scores or samples

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
	later := fmt.Sprintf("and %s/day of flash", volume(channelState*savesADay))
	for _, f := range s.wanted() {
		all = append(all, s.feed(f))
		if f.more {
			later += fmt.Sprintf(", %s/day of %s to Kafka", volume(f.row*f.perDay()), f.what)
		}
	}
	all = append(all, s.flash())
	if _, more := s.channels(); more {
		all = append(all, cost{"a channel found later", "+" + volume(s.perChannel()) + " memory", "", later})
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
	idle := baseMemory + float64(n)*s.perChannel()
	return cost{"memory", volume(idle), volume(idle + float64(s.cfg.Agent.Buffer*sampleBytes)),
		fmt.Sprintf("%s and %s a channel; at worst the queue is full", volume(baseMemory), volume(s.perChannel()))}
}

// perChannel is bytes of memory.
func (s *site) perChannel() float64 {
	if s.cfg.Uplink == (config.Uplink{}) {
		return channelMemory
	}
	return channelMemory + feedChannel
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

func (s *site) feed(f wanted) cost {
	size := feedBatch*f.partitions() + f.row*float64(f.channels)
	because := fmt.Sprintf("%s, %s every %s", f, volume(size), config.Duration(f.every))
	if codec := s.cfg.Kafka.Codec; codec != "zstd" {
		because += " with zstd; more with codec = " + quote(codec)
	}
	usual := perDay(size * f.perDay())
	if f.channels == 0 && f.more {
		usual, because = "?", fmt.Sprintf("%s every %s for a channel, %s for a machine", volume(f.row), config.Duration(f.every), volume(feedBatch))
	}
	return cost{f.what + " to Kafka", usual, "", because}
}

func (s *site) flash() cost {
	saved := float64(s.learned()) * channelState
	usual := savesADay*(saved+commitFlash) + 2*s.falseAlarms()*commitFlash
	worst := usual + day/time.Duration(s.cfg.Spool.Commit).Seconds()*commitFlash
	return cost{"flash", perDay(usual), perDay(worst), fmt.Sprintf("%s an event, %s an hour of what was learned; at worst a write every %s, %s a year",
		volume(commitFlash), volume(saved+commitFlash), s.cfg.Spool.Commit, volume(365*worst))}
}

func perDay(bytes float64) string { return volume(bytes) + "/day" }

// learned is how many of the known channels have detectors that learn.
func (s *site) learned() (n int) {
	for _, f := range s.feeds {
		for _, c := range f.channels {
			if chosen := planOf(s.cfg, c).chosen; slices.ContainsFunc([]string{"ewma", "robust_z", "cusum", "rate"}, chosen.Has) {
				n++
			}
		}
	}
	return n
}

// wanted is what [uplink] asks for beside the events.
type wanted struct {
	what, topic        string
	every              time.Duration
	row                float64 // bytes of a channel in a window
	channels, machines int     // that are known
	more               bool    // others may be found
}

func (s *site) wanted() (all []wanted) {
	add := func(what, topic string, every config.Duration, row float64, names []string) {
		w := wanted{what: what, topic: topic, every: time.Duration(every), row: row}
		asked, of := config.Wanted(names), map[string]bool{}
		for _, f := range s.feeds {
			for _, c := range f.channels {
				if asked == nil || asked(c.Name) {
					w.channels++
					of[config.MachineOf(c.Name)] = true
				}
			}
			for _, template := range f.found {
				w.more = w.more || !f.heard && config.MayWant(names, template)
			}
		}
		w.machines = len(of)
		all = append(all, w)
	}
	if u := s.cfg.Uplink.Scores; u != nil {
		add("scores", u.Topic, u.Every, scoreRow, u.Channels)
	}
	if u := s.cfg.Uplink.Samples; u != nil {
		add("readings", u.Topic, u.Every, sampleRow, u.Channels)
	}
	return all
}

// String is which channels are wanted.
func (w wanted) String() string {
	switch {
	case !w.more:
		return plural(w.channels, "channel")
	case w.channels == 0:
		return "channels as found"
	}
	return plural(w.channels, "channel") + " and as found"
}

// perDay is how many windows there are.
func (w wanted) perDay() float64 { return day / w.every.Seconds() }

// partitions is how many of them a window of so many machines goes to, on average.
func (w wanted) partitions() float64 {
	return partitions * (1 - math.Pow(1-1.0/partitions, float64(w.machines)))
}

// eventBytes is the size of an event as this site would send it, with its
// headers, before compression.
func (s *site) eventBytes() float64 {
	c := sensors.Channel{Name: "machine.quantity"}
	if i := slices.IndexFunc(s.feeds, func(f feed) bool { return len(f.channels) > 0 }); i >= 0 {
		c = s.feeds[i].channels[0]
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
