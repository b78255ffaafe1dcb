package cli

import (
	"context"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/sensors"
)

// site is what a configuration makes of a gateway, known before anything runs.
type site struct {
	cfg    *config.Config
	feeds  []feed
	judged []group
}

// feed is one source and what it will deliver.
type feed struct {
	name     string // "mqtt.hall"
	from     string // broker, file or model
	channels []sensors.Channel
	found    []string // names of those that it finds only when it reads
	heard    bool     // it was listened to, and channels has those found then

	rate    float64 // readings a second, of all channels whose rate is known
	unknown int     // how many channels' rate is not; found ones count once a row
	endless bool    // as fast as they can be judged
	basis   string  // how the rate is known
}

// group is channels that the same detectors judge.
type group struct {
	detectors string
	channels  []string // names with their units, or when they are judged
}

// survey looks at what the configuration names on this machine, and at nothing
// else: files are read, no broker is asked.
func survey(ctx context.Context, cfg *config.Config) (*site, error) {
	s := &site{cfg: cfg}
	queue := sensors.NewQueue(1, 1, mostChannels)
	sources, err := newSources(cfg, queue, clock.New(), newLog(io.Discard))
	if err != nil {
		return nil, err
	}
	for _, src := range sources {
		f := feed{name: src.Name, channels: src.Channels()}
		switch kind, name, _ := strings.Cut(src.Name, "."); kind {
		case "mqtt":
			f.ofMQTT(cfg.MQTT[name])
		case "csv":
			f.ofCSV(ctx, cfg.CSV[name])
			f.from = beside(cfg, f.from)
		case "simulate":
			every := time.Duration(cfg.Simulate[name].Interval)
			f.from, f.rate, f.basis = "simulated pumps", float64(len(f.channels))/every.Seconds(), "each every "+config.Duration(every).String()
		}
		s.feeds = append(s.feeds, f)
	}
	s.group()
	return s, nil
}

// ofMQTT knows only the rate of rows whose messages are recordings themselves.
func (f *feed) ofMQTT(m config.MQTT) {
	f.from = m.Broker
	for _, t := range m.Topics {
		if t.Dynamic() {
			f.found = append(f.found, t.Channel)
		}
		if t.Interval > 0 && !t.Dynamic() {
			f.rate += 1 / time.Duration(t.Interval).Seconds()
		} else {
			f.unknown++
		}
	}
	switch {
	case f.unknown == 0:
		f.basis = "interval of its rows"
	case f.rate > 0:
		f.basis = "interval; other rows: check --live measures them"
	default:
		f.basis = "unknown until it runs: check --live measures it"
	}
}

// ofCSV looks at the first rows of the file, which also tell the channels where
// the configuration names none.
func (f *feed) ofCSV(ctx context.Context, c config.CSV) {
	f.from = c.Path
	head := peek(ctx, c)
	if len(f.channels) == 0 {
		f.channels = head.channels
	}
	if len(f.channels) == 0 {
		f.found = []string{"every column of numbers"}
	}
	every := head.every
	switch {
	case !c.Follow && c.Speed == 0:
		f.endless, f.basis = true, "speed = 0: as fast as they can be judged"
	case every <= 0:
		f.unknown, f.basis = max(1, len(f.channels)), "unknown: the file has no two rows yet"
	case c.Follow:
		f.rate, f.basis = float64(len(f.channels))/every.Seconds(), "rows "+short(every)+" apart"
	default:
		f.rate, f.basis = c.Speed*float64(len(f.channels))/every.Seconds(), "rows "+short(every)+" apart, replayed at speed "+number(c.Speed)
	}
}

// beside is a path as the configuration may have written it: from its folder,
// where it lies there.
func beside(cfg *config.Config, file string) string {
	folder, err := filepath.Abs(filepath.Dir(cfg.Path))
	if err != nil {
		return file
	}
	return strings.TrimPrefix(file, folder+string(filepath.Separator))
}

// group gathers the channels that are judged alike; templates of names found
// later are judged by what holds for them now.
func (s *site) group() {
	at := map[string]int{}
	add := func(name, shown string) {
		var methods []string
		for _, d := range watch(s.cfg, sensors.Channel{Name: name}).Detectors {
			methods = append(methods, d.Traits().Name)
		}
		by := strings.Join(methods, ", ")
		i, known := at[by]
		if !known {
			i = len(s.judged)
			at[by] = i
			s.judged = append(s.judged, group{detectors: by})
		}
		s.judged[i].channels = append(s.judged[i].channels, shown)
	}
	seen := map[string]bool{} // two sources may fill one channel
	for _, f := range s.feeds {
		for _, c := range f.channels {
			if !seen[c.Name] {
				seen[c.Name] = true
				add(c.Name, strings.TrimSpace(c.Name+" "+c.Unit))
			}
		}
		for _, name := range f.found {
			add(name, name+" as found")
		}
	}
	own := map[string]bool{} // settings for channels that may be found
	for name := range s.cfg.Channel {
		own[name] = true
	}
	for name := range s.cfg.Limit {
		own[name] = true
	}
	for _, name := range sortedKeys(own) {
		if !seen[name] {
			add(name, name+" if found")
		}
	}
}

// channels is how many are known, and whether more will be found.
func (s *site) channels() (known int, more bool) {
	for _, f := range s.feeds {
		known += len(f.channels)
		more = more || len(f.found) > 0 && !f.heard
	}
	return known, more
}

// rate is the readings a second that are known, and whether there are others.
func (s *site) rate() (known float64, more bool) {
	for _, f := range s.feeds {
		known += f.rate
		more = more || f.unknown > 0 || f.endless
	}
	return known, more
}

// peekRows is how many rows of a file are looked at: enough for a median.
const peekRows = 100

// head is what the first rows of a CSV file tell.
type head struct {
	channels []sensors.Channel
	every    time.Duration // the median between two rows; 0: not known
	refused  map[string]uint64
	err      error
}

// peek reads the first rows of a file as the agent would.
func peek(ctx context.Context, c config.CSV) (h head) {
	c.Follow, c.Speed = false, 0
	source, err := newCSV(c)
	if err != nil {
		return head{err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	queue := sensors.NewQueue(2, batchSamples, mostChannels)
	writer, err := queue.Writer("peek", source.Channels())
	if err != nil {
		return head{err: err}
	}
	var gaps []time.Duration
	last := int64(math.MinInt64)
	h.err = listen(ctx, queue, source, writer, func(samples []sensors.Sample) {
		for _, s := range samples {
			if gap := s.Time - last; gap > 0 && last != math.MinInt64 && len(gaps) < peekRows {
				gaps = append(gaps, time.Duration(gap))
			}
			last = s.Time
		}
		if len(gaps) >= peekRows {
			cancel()
		}
	})
	for i := range queue.NumChannels() {
		h.channels = append(h.channels, queue.Channel(sensors.ChannelID(i)))
	}
	h.refused = writer.Counters.ByReason()
	if len(gaps) > 0 {
		slices.Sort(gaps)
		h.every = gaps[len(gaps)/2]
	}
	return h
}

// listen runs a source until ctx ends or it has nothing more, and gives what it
// reads to take, on the caller's goroutine. It returns when the source has.
func listen(ctx context.Context, queue *sensors.Queue, source sensors.Source, out *sensors.Writer, take func([]sensors.Sample)) error {
	ended := make(chan error, 1)
	go func() {
		err := source.Run(ctx, out)
		queue.Close()
		ended <- err
	}()
	for {
		batch, err := queue.Take(nil)
		if err != nil { // io.EOF: closed and empty
			return <-ended
		}
		take(batch.Samples)
		batch.Release()
	}
}

// sortedKeys is the names of a table in order.
func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
