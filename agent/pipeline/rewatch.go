package pipeline

import (
	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/sensors"
)

// change does a Change's part on the judge's own goroutine, between two batches:
// nothing of the sources that stopped is left to be judged, nothing of the new
// ones has come.
func (j *Judge) change(c *Change, stopped []*Source) (map[string]Kept, error) {
	for _, source := range stopped {
		j.Queue.Retire(source.Writer)
	}
	finds := map[string]bool{}
	for _, source := range c.Start {
		w, err := j.Queue.Writer(source.Name, source.Channels())
		if err != nil {
			return nil, err
		}
		for _, was := range stopped {
			if was.Name == source.Name {
				w.Counters.CarryOn(&was.Writer.Counters)
			}
		}
		source.Writer = w
		finds[source.Name] = source.Finds
	}
	j.Bell.Set(c.Alarms)
	j.Fixed = c.Fixed
	before := j.Watch
	if c.Watch != nil {
		j.Watch = c.Watch
	}
	j.forget(finds)
	if len(stopped) > 0 {
		j.rest(stopped)
	}
	return j.watchAnew(c, before), nil
}

// forget ends the watch over the channels that no source feeds any more. What
// was learned of them is kept on disk. The alarm of one that its source, by
// name, may find again waits for that as after a restart; others are withdrawn.
func (j *Judge) forget(finds map[string]bool) {
	var gone []*watch
	for _, id := range j.Queue.Sweep() {
		if int(id) < len(j.watches) && j.watches[id] != nil {
			gone = append(gone, j.watches[id])
			j.watches[id] = nil
		}
	}
	if err := j.Memory.save(gone); err != nil && len(gone) > 0 {
		j.Log.Error("channels that come back will be learned afresh", "error", err)
	}
	for _, w := range gone {
		j.Feed.leave(w)
		for class := range alarms.Classes {
			a := &w.alarm[class]
			if w.from == nil || !finds[w.from.Name] {
				j.end(&w.Channel, class, a)
				continue
			}
			j.Restored.Keep(w.Channel.Name, class, a)
			j.count(a.Active(), false)
			j.orphans = sensors.Now()
		}
	}
	if j.Fixed {
		j.withdraw()
	}
}

// rest says that what has been silent since its own source was stopped is
// nobody's fault yet. The channels of the others go on being missed.
func (j *Judge) rest(stopped []*Source) {
	until := sensors.Now() + int64(recovery)
	for id, w := range j.watches {
		for _, source := range stopped {
			if w != nil && w.from == source.Writer {
				w.from, w.deaf = j.Queue.Feeder(sensors.ChannelID(id)), until
			}
		}
	}
}

// watchAnew lets channels that have no watch yet, or other settings or another
// measure than before, be judged as Watch says now, which said before what before
// says.
func (j *Judge) watchAnew(c *Change, before func(sensors.Channel) Watch) map[string]Kept {
	kept := map[string]Kept{}
	for _, id := range j.Queue.Fed() {
		if int(id) >= len(j.watches) || j.watches[id] == nil {
			j.watch(id)
			continue
		}
		w, channel := j.watches[id], j.Queue.Channel(id)
		afresh := w.Channel.Measure() != channel.Measure()
		if afresh || c.Same != nil && !c.Same(channel) {
			kept[channel.Name] = j.rewatch(w, before(w.Channel.Channel).Settings, j.Watch(channel), afresh)
		}
	}
	return kept
}

// rewatch judges a channel that was judged by settings by others. Unless it is to begin afresh a
// detector whose settings are what they were goes on as it is. An alarm stays as
// long as any of its class is left, and where the one that spoke for it begins
// anew, until that can tell.
func (j *Judge) rewatch(w *watch, settings []any, next Watch, afresh bool) (k Kept) {
	j.Feed.leave(w)
	anew := make([]bool, len(next.Detectors))
	for i := range next.Detectors {
		if d := w.same(settings, &next, i); d != nil && !afresh {
			next.Detectors[i] = d
			k.Kept++
		} else {
			anew[i] = true
			k.Anew++
		}
	}
	j.judgeBy(w, next)
	w.since = sensors.Now()
	for class := range alarms.Classes {
		if j.endUnjudged(w, class) {
			w.unsure[class] = false
			continue
		}
		i := w.speakerOf(class)
		w.unsure[class] = w.alarm[class].Active() && i >= 0 && (anew[i] || w.unsure[class])
		w.speaker[class] = i
	}
	return k
}

// same is the channel's detector, of the settings given, that judges as next's
// number i would; nil where there is none.
func (w *watch) same(settings []any, next *Watch, i int) detectors.Detector {
	if i >= len(next.Settings) || next.Settings[i] == nil {
		return nil
	}
	for k, d := range w.Detectors {
		if k < len(settings) && settings[k] == next.Settings[i] && d.Traits().Name == next.Detectors[i].Traits().Name {
			return d
		}
	}
	return nil
}
