package cli

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"tocsin/agent/config"
	"tocsin/agent/pipeline"
	"tocsin/sensors"
)

// apply lets a configuration take the place of the one that runs and says, a
// line a change, what that meant. After an error nothing has changed, unless it
// says so.
func (a *agent) apply(next *config.Config) (said []string, err error) {
	was := a.now().config
	moved, err := a.reopen(next)
	if err != nil {
		return nil, err
	}
	if said, err = a.change(next); err != nil {
		moved.closeAllBut(a.doors)
		return nil, err
	}
	a.doors.closeAllBut(moved)
	a.doors = moved
	if was.Agent.Socket != next.Agent.Socket {
		said = append(said, "[agent] socket: status commands are answered on "+next.Agent.Socket)
	}
	if was.Agent.Listen != next.Agent.Listen {
		said = append(said, "[agent] listen: "+cmp.Or(next.Agent.Listen, "no port is open any more"))
	}
	return said, nil
}

// change is apply for all but what is answered on. What only the whole street
// can take on, and what a part of it does not take, is built anew.
func (a *agent) change(next *config.Config) (said []string, err error) {
	w := a.now()
	if changed := foundations(w.config, next); changed != "" {
		return a.replace(next, changed)
	}
	// All that can be refused is done before anything is changed.
	fresh, err := newSources(next, sensors.NewQueue(1, 1, mostChannels), a.clock, a.log)
	if err != nil {
		return nil, err
	}
	n := *w
	n.config, n.loaded = next, time.Now()
	if !reflect.DeepEqual(w.config.Kafka, next.Kafka) {
		if n.sink, err = newSink(next, a.clock); err != nil {
			return nil, err
		}
	}
	change := changeOf(w, next, fresh)
	kept, err := w.street.Change(a.life, change)
	if err != nil {
		if n.sink != w.sink {
			_ = n.sink.Close() // never used
		}
		if a.life.Err() != nil {
			return nil, a.life.Err()
		}
		return a.replace(next, err.Error())
	}
	said = append(sourceLines(w.config, next), judgingLines(w.config, next, kept)...)
	said = append(said, a.keep(w, next)...)
	if !reflect.DeepEqual(w.config.Uplink, next.Uplink) {
		said = append(said, a.feed(w, next)...)
	}
	a.works.Store(&n)
	if n.sink != w.sink {
		if w.street.Forward(a.newForwarder(n.spool, n.sink, next)) {
			said = append(said, "[kafka]: connected anew; what was on its way is sent again as it was, and stored once")
		}
		if err := w.sink.Close(); err != nil {
			a.log.Warn("closing Kafka", "error", err)
		}
	}
	return said, nil
}

// foundations names the tables that differ and on which the whole street stands;
// "" where none does.
func foundations(was, next *config.Config) string {
	var changed []string
	for _, part := range []struct {
		name      string
		was, next any
	}{
		{"[site]", was.Site, next.Site},
		{"[spool] dir", was.Spool.Dir, next.Spool.Dir},
		{"[agent] buffer", was.Agent.Buffer, next.Agent.Buffer},
	} {
		if !reflect.DeepEqual(part.was, part.next) {
			changed = append(changed, part.name)
		}
	}
	return strings.Join(changed, ", ")
}

// replace builds the whole street anew.
func (a *agent) replace(next *config.Config, why string) ([]string, error) {
	r := rebuild{next, make(chan error, 1)}
	select {
	case a.rebuilds <- r:
	case <-a.life.Done():
		return nil, a.life.Err()
	}
	if err := <-r.done; err != nil {
		return nil, fmt.Errorf("%s: %w; the configuration before runs again", why, err)
	}
	return []string{why + ": everything restarted"}, nil
}

// changeOf is what the street has to do. fresh are all sources that the next
// configuration names.
func changeOf(w *works, next *config.Config, fresh []*pipeline.Source) pipeline.Change {
	c := pipeline.Change{
		Alarms: alarmSettings(next), Fixed: fixed(next),
		Watch: func(c sensors.Channel) pipeline.Watch { return watch(next, c) },
	}
	for _, s := range w.street.All() {
		if !sameSource(w.config, next, s.Name) {
			c.Stop = append(c.Stop, s.Name)
		}
	}
	for _, s := range fresh {
		if !sameSource(w.config, next, s.Name) {
			c.Start = append(c.Start, &pipeline.Source{Name: s.Name, Source: s.Source, Finds: s.Finds})
		}
	}
	if was := w.config; !sameJudging(was, next) {
		c.Same = func(c sensors.Channel) bool { return reflect.DeepEqual(planOf(was, c), planOf(next, c)) }
	}
	return c
}

// sourceSettings is the table of a source, "mqtt.hall"; nil where there is none.
func sourceSettings(cfg *config.Config, source string) any {
	kind, name, _ := strings.Cut(source, ".")
	switch kind {
	case "mqtt":
		if m, ok := cfg.MQTT[name]; ok {
			return m
		}
	case "csv":
		if f, ok := cfg.CSV[name]; ok {
			return f
		}
	case "simulate":
		if p, ok := cfg.Simulate[name]; ok {
			return p
		}
	}
	return nil
}

func sameSource(was, next *config.Config, source string) bool {
	return reflect.DeepEqual(sourceSettings(was, source), sourceSettings(next, source))
}

func sameJudging(was, next *config.Config) bool {
	return was.Detect == next.Detect && reflect.DeepEqual(was.Machine, next.Machine) &&
		reflect.DeepEqual(was.Channel, next.Channel) && reflect.DeepEqual(was.Limit, next.Limit)
}

// handOver gives sources of the next works, whose settings are what they were
// here, the source that ran, which knows how far it has read; and every one its
// ledger. The street has stopped.
func (w *works) handOver(next *config.Config, sources []*pipeline.Source) {
	if w == nil {
		return
	}
	for _, was := range w.street.All() {
		i := slices.IndexFunc(sources, func(s *pipeline.Source) bool { return s.Name == was.Name })
		if i < 0 {
			continue
		}
		s := sources[i]
		s.Writer.Counters.CarryOn(&was.Writer.Counters)
		state := was.Status().State
		if sameSource(w.config, next, s.Name) && (state == "stopped" || state == "ended") {
			s.Source, s.Over = was.Source, state == "ended"
		}
	}
}

// keep changes how the keeper and the spool work.
func (a *agent) keep(w *works, next *config.Config) (said []string) {
	was := w.config
	if was.Spool.Commit != next.Spool.Commit {
		w.street.Keeper.Every(time.Duration(next.Spool.Commit))
		said = append(said, "[spool]: events are written every "+next.Spool.Commit.String())
	}
	if was.Spool.MaxSize != next.Spool.MaxSize || was.Spool.MaxAge != next.Spool.MaxAge {
		w.spool.Bound(int64(next.Spool.MaxSize), time.Duration(next.Spool.MaxAge))
		said = append(said, fmt.Sprintf("[spool]: up to %s of events are kept, for %s at most", next.Spool.MaxSize, next.Spool.MaxAge))
	}
	if was.Alarms != next.Alarms {
		said = append(said, "[alarms]: hold from the next finding on")
	}
	if was.Agent.Watch != next.Agent.Watch {
		said = append(said, map[bool]string{true: "[agent] watch: this file is applied when it changes",
			false: "[agent] watch: this file is applied on SIGHUP and tocsin reload alone"}[next.Agent.Watch])
	}
	return said
}

// sourceLines says which sources were started, stopped or both.
func sourceLines(was, next *config.Config) (said []string) {
	names := map[string]bool{}
	for _, cfg := range []*config.Config{was, next} {
		for name := range cfg.MQTT {
			names["mqtt."+name] = true
		}
		for name := range cfg.CSV {
			names["csv."+name] = true
		}
		for name := range cfg.Simulate {
			names["simulate."+name] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		what := "restarted"
		switch {
		case sameSource(was, next, name):
			continue
		case sourceSettings(was, name) == nil:
			what = "started"
		case sourceSettings(next, name) == nil:
			what = "stopped; channels that nothing else reads are not judged any more"
		}
		said = append(said, fmt.Sprintf("[%s]: %s", name, what))
	}
	return said
}

// judgingLines says what became of the detectors.
func judgingLines(was, next *config.Config, kept map[string]pipeline.Kept) (said []string) {
	tell := func(table string, of func(channel string) bool) {
		said = append(said, table+": "+judged(kept, of))
	}
	if was.Detect != next.Detect {
		tell("[detect]", func(string) bool { return true })
	}
	for _, name := range changed(was.Machine, next.Machine) {
		tell(tableName("machine", name), func(channel string) bool { return config.MachineOf(channel) == name })
	}
	for _, name := range changed(was.Channel, next.Channel) {
		tell(tableName("channel", name), func(channel string) bool { return channel == name })
	}
	for _, name := range changed(was.Limit, next.Limit) {
		tell(tableName("limit", name), func(channel string) bool { return channel == name })
	}
	return said
}

// judged sums up what became of the detectors of some channels.
func judged(kept map[string]pipeline.Kept, of func(channel string) bool) string {
	channels, sum := 0, pipeline.Kept{}
	for channel, k := range kept {
		if of(channel) {
			channels++
			sum.Kept, sum.Anew = sum.Kept+k.Kept, sum.Anew+k.Anew
		}
	}
	switch channels {
	case 0:
		return "holds for channels that are found from now on"
	case 1:
		return fmt.Sprintf("judged by the new settings; of its detectors %d keep what they learned, %d begin anew", sum.Kept, sum.Anew)
	}
	return fmt.Sprintf("%d channels are judged by the new settings; of their detectors %d keep what they learned, %d begin anew", channels, sum.Kept, sum.Anew)
}

// changed names the tables of a kind that were changed, added or removed.
func changed[T any](was, next map[string]T) (names []string) {
	for name, t := range next {
		if before, ok := was[name]; !ok || !reflect.DeepEqual(before, t) {
			names = append(names, name)
		}
	}
	for name := range was {
		if _, ok := next[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func tableName(kind, name string) string {
	if strings.ContainsAny(name, ". \"") {
		return fmt.Sprintf("[%s.%q]", kind, name)
	}
	return "[" + kind + "." + name + "]"
}
