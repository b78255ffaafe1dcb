package pipeline

import (
	"math"
	"slices"
	"time"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/sensors"
)

// Watch is what is known of one channel and the detectors that judge it.
type Watch struct {
	Channel   alarms.Channel
	Low, High float64            // the sensor's physical range, outside which only the sensor is judged; both 0: unknown
	Severity  detectors.Severity // of what learned detectors find; None: their own
	Detectors []detectors.Detector
}

// learnedHold is how long an alarm of a learned detector outlasts its last
// finding: what only begins to be unusual is so now and then. Limits have delays
// and a dead-band of their own.
const learnedHold = 10 * time.Second

func hold(d detectors.Detector, t detectors.Traits) time.Duration {
	if _, learned := d.(detectors.Learner); learned && alarms.ClassOf(t) == alarms.Process {
		return learnedHold
	}
	return 0
}

// watch is a channel at work.
type watch struct {
	Watch
	tickers []detectors.Ticker
	traits  []detectors.Traits // of each detector
	holds   []time.Duration    // of each detector: how long its alarm outlasts its last finding
	alarm   [alarms.Classes]alarms.Alarm
	from    *sensors.Writer
	last    sensors.Sample // that was fit to be judged
	arrived int64          // when it did
	// unsure: an earlier run raised the alarm, and the detector that spoke for it
	// has not yet seen enough again to say that it is over.
	unsure  [alarms.Classes]bool
	speaker [alarms.Classes]int // which detector that is
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
		w.traits, w.holds = append(w.traits, t), append(w.holds, hold(d, t))
		if t, ok := d.(detectors.Ticker); ok {
			w.tickers = append(w.tickers, t)
		}
	}
	j.Memory.load(w)
	for class := range alarms.Classes {
		j.restore(w, class)
	}
	j.watches[id] = w
	return w
}

// restore takes up the alarm that an earlier run left, or ends it where the
// detectors of its class were taken out of the configuration.
func (j *Judge) restore(w *watch, class alarms.Class) {
	a, err := j.Restored.Alarm(w.Channel.Name, class)
	if err != nil {
		j.Log.Error("the alarm starts afresh", "error", err)
	}
	w.alarm[class] = a
	j.count(false, a.Active())
	of := func(t detectors.Traits) bool { return alarms.ClassOf(t) == class }
	if !slices.ContainsFunc(w.traits, of) {
		j.end(&w.Channel, class, &w.alarm[class])
		return
	}
	w.speaker[class] = slices.IndexFunc(w.traits, func(t detectors.Traits) bool { return of(t) && t.Name == a.Last().Traits.Name })
	w.unsure[class] = a.Active() && w.speaker[class] >= 0
}

// cannotTell reports whether a detector that does not find anything may only
// not know: it still learns, it waits for a delay to pass, or sees the value at
// which the sensor was stuck. Without this every power cut would be followed by
// an all-clear while the fault goes on.
func (w *watch) cannotTell(class alarms.Class, v detectors.Verdict, value float64) bool {
	switch last := w.alarm[class].Last(); last.Verdict.Reason {
	case detectors.NotChanging:
		return value == last.Value
	case detectors.NothingArrives, detectors.TooFast: // over with the next reading
		return false
	}
	open := math.IsInf(v.Low, -1) && math.IsInf(v.High, 1) // nothing is expected yet
	return open || value < v.Low || value > v.High
}

// withdraw clears the alarms that an earlier run left on channels which are not
// watched.
func (j *Judge) withdraw() {
	channels, classes := j.Restored.Orphans()
	for i, name := range channels {
		a, err := j.Restored.Alarm(name, classes[i])
		if err != nil {
			j.Log.Error("an alarm of a channel that is gone stays open", "channel", name, "error", err)
			continue
		}
		c := j.Watch(sensors.Channel{Name: name}).Channel
		j.count(false, a.Active())
		j.end(&c, classes[i], &a)
	}
}

// end clears an alarm that nobody judges any more.
func (j *Judge) end(c *alarms.Channel, class alarms.Class, a *alarms.Alarm) {
	before := a.Active()
	j.Bell.Withdraw(c, class, a, time.Now().UnixNano())
	j.count(before, a.Active())
}
