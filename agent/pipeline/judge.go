package pipeline

import (
	"errors"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/sensors"
)

// tick is how often detectors that wait for silence are asked.
const tick = time.Second

// Watch is what is known of one channel and the detectors that judge it.
type Watch struct {
	Channel   alarms.Channel
	Low, High float64            // the sensor's physical range, outside which only the sensor is judged; both 0: unknown
	Severity  detectors.Severity // of what learned detectors find; None: their own
	Detectors []detectors.Detector
}

// Judge takes batches, lets each channel's detectors judge them and gives what
// they find to the bell. One goroutine, no locks, no allocation a sample.
type Judge struct {
	Queue *sensors.Queue
	// Watch makes the detectors of a channel when its first sample comes.
	Watch    func(sensors.Channel) Watch
	Bell     *alarms.Bell
	Restored *alarms.Restored
	Memory   *Memory // nil: nothing is remembered over a restart
	Log      *slog.Logger

	Alarms  atomic.Int64 // how many are active now
	watches []*watch     // by ChannelID
}

// watch is a channel at work.
type watch struct {
	Watch
	tickers []detectors.Ticker
	traits  []detectors.Traits // of each detector
	alarm   [alarms.Classes]alarms.Alarm
	from    *sensors.Writer
	last    sensors.Sample
	arrived int64
}

// Run judges until the queue is closed and empty. Channels that are known from
// the start are watched from the start: a sensor that never speaks is missed too.
func (j *Judge) Run() {
	for id := range j.Queue.NumChannels() {
		j.watch(sensors.ChannelID(id)) //nolint:gosec // at most as many as ChannelIDs
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	ticked := sensors.Now()
	for {
		b, err := j.Queue.Take(ticker.C)
		if errors.Is(err, io.EOF) {
			j.remember()
			return
		}
		if b != nil {
			j.batch(b)
		}
		if now := sensors.Now(); now-ticked >= int64(tick) {
			j.tick(now)
			j.Memory.saveHourly(j.watches)
			ticked = now
		}
	}
}

func (j *Judge) batch(b *sensors.Batch) {
	from := b.From()
	judged := 0
	for i := range b.Samples {
		if j.sample(&b.Samples[i], b.Arrived, from) {
			judged++
		}
	}
	from.Counters.Judged.Add(uint64(judged))
	b.Release()
}

// sample judges one reading and reports whether it was fit to be judged.
func (j *Judge) sample(s *sensors.Sample, arrived int64, from *sensors.Writer) bool {
	w := j.watch(s.Channel)
	w.from, w.last, w.arrived = from, *s, arrived
	if s.Quality.IsBad() {
		from.Counters.Refuse(sensors.BadQuality, 1)
		return false
	}
	inRange := s.Value >= w.Low && s.Value <= w.High
	if !inRange {
		s.Quality = max(s.Quality, sensors.UncertainEngineeringUnit)
		from.Counters.Refuse(sensors.OutOfRange, 1)
	}
	window := detectors.Window{Time: s.Time, Arrived: arrived, Value: s.Value}
	best := [alarms.Classes]int{-1, -1}
	var verdicts [alarms.Classes]detectors.Verdict
	for i, d := range w.Detectors {
		class := alarms.ClassOf(w.traits[i])
		if !inRange && class == alarms.Process {
			continue
		}
		if v := d.Judge(window); best[class] < 0 || graver(v, w.traits[i], verdicts[class], w.traits[best[class]]) {
			best[class], verdicts[class] = i, v
		}
	}
	for class, i := range best {
		if i >= 0 && (verdicts[class].Score >= detectors.Line || w.alarm[class].Active()) {
			j.find(w, alarms.Class(class), alarms.Finding{Time: s.Time, Seen: s.Time, Value: s.Value, Quality: s.Quality,
				Verdict: verdicts[class], Traits: w.traits[i]})
		}
	}
	return inRange
}

// graver orders verdicts of one class: what reaches the line before what does
// not, then by severity, then by score.
func graver(v detectors.Verdict, t detectors.Traits, than detectors.Verdict, its detectors.Traits) bool {
	found, foundThan := v.Score >= detectors.Line, than.Score >= detectors.Line
	if found && foundThan {
		s, sThan := alarms.SeverityOf(v, t), alarms.SeverityOf(than, its)
		if s != sThan {
			return s > sThan
		}
	}
	return v.Score > than.Score
}

func (j *Judge) find(w *watch, class alarms.Class, f alarms.Finding) {
	a := &w.alarm[class]
	before := a.Active()
	j.Bell.Find(&w.Channel, class, a, f)
	j.count(before, a.Active())
}

func (j *Judge) count(before, after bool) {
	switch {
	case after && !before:
		j.Alarms.Add(1)
	case before && !after:
		j.Alarms.Add(-1)
	}
}

// tick lets time pass for channels from which nothing arrived.
func (j *Judge) tick(now int64) {
	for _, w := range j.watches {
		if w == nil || w.from != nil && w.from.Ended() {
			continue
		}
		for _, t := range w.tickers {
			v := t.Tick(now)
			if v.Score < detectors.Line {
				continue
			}
			j.find(w, alarms.Sensor, alarms.Finding{Time: w.last.Time + now - w.arrived, Seen: w.last.Time, Value: w.last.Value,
				Quality: sensors.BadNoCommunication, Verdict: v, Traits: t.Traits()})
		}
	}
}

func (j *Judge) watch(id sensors.ChannelID) *watch {
	if int(id) < len(j.watches) && j.watches[id] != nil {
		return j.watches[id]
	}
	for int(id) >= len(j.watches) {
		j.watches = append(j.watches, nil)
	}
	w := &watch{Watch: j.Watch(j.Queue.Channel(id)), arrived: sensors.Now()}
	w.last = sensors.Sample{Time: time.Now().UnixNano(), Value: math.NaN()} // nothing yet
	if w.Low == 0 && w.High == 0 {
		w.Low, w.High = math.Inf(-1), math.Inf(1)
	}
	for _, d := range w.Detectors {
		t := d.Traits()
		if w.Severity != detectors.None && t.Status == detectors.Normal {
			t.Severity = w.Severity
		}
		w.traits = append(w.traits, t)
		if t, ok := d.(detectors.Ticker); ok {
			w.tickers = append(w.tickers, t)
		}
	}
	for class := range alarms.Classes {
		a, err := j.Restored.Alarm(w.Channel.Name, class)
		if err != nil {
			j.Log.Error("the alarm starts afresh", "error", err)
		}
		w.alarm[class] = a
		j.count(false, a.Active())
		if !slices.ContainsFunc(w.traits, func(t detectors.Traits) bool { return alarms.ClassOf(t) == class }) {
			j.withdraw(&w.Channel, class, &w.alarm[class]) // what raised it was taken out of the configuration
		}
	}
	j.Memory.load(w, j.Log)
	j.watches[id] = w
	return w
}

// Withdraw clears the alarms that an earlier run left on channels which the
// configuration no longer names. Call it before Run.
func (j *Judge) Withdraw(gone func(channel string) bool, describe func(string) alarms.Channel) {
	channels, classes := j.Restored.Orphans()
	for i, name := range channels {
		if !gone(name) {
			continue
		}
		c := describe(name)
		a, err := j.Restored.Alarm(name, classes[i])
		if err != nil {
			j.Log.Error("an alarm of a channel that is gone stays open", "channel", name, "error", err)
			continue
		}
		j.count(false, a.Active())
		j.withdraw(&c, classes[i], &a)
	}
}

func (j *Judge) withdraw(c *alarms.Channel, class alarms.Class, a *alarms.Alarm) {
	before := a.Active()
	j.Bell.Withdraw(c, class, a, time.Now().UnixNano())
	j.count(before, a.Active())
}

func (j *Judge) remember() {
	if err := j.Memory.save(j.watches); err != nil {
		j.Log.Error("the detectors will learn afresh after the next start", "error", err)
	}
}
