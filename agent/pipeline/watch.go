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
	// Settings of each detector are comparable: those of one name with equal settings
	// judge alike. Nil: never equal. They are not kept but asked for again.
	Settings []any
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

// kind is what is the same of all channels that the same detectors judge; they
// share its memory, and the processor's cache keeps it while channels pass.
type kind struct {
	traits  []detectors.Traits // of each detector
	holds   []time.Duration    // of each detector: how long its alarm outlasts its last finding
	tickers []int              // which detectors are detectors.Ticker
}

// watch is a channel at work.
type watch struct {
	Watch
	kind
	alarm   [alarms.Classes]alarms.Alarm
	from    *sensors.Writer // of the last reading, or who may give the first
	last    sensors.Sample  // that was fit to be judged
	arrived int64           // when it did
	deaf    int64           // until then it is not called silent, by sensors.Now
	// unsure: an earlier run raised the alarm, and the detector that spoke for it
	// has not yet seen enough again to say that it is over.
	unsure  [alarms.Classes]bool
	speaker [alarms.Classes]int // which detector that is
	since   int64               // when that began, on the arrival clock
	member  *member             // of the feed; nil: of none yet
}

func (j *Judge) watch(id sensors.ChannelID) *watch {
	if int(id) < len(j.watches) && j.watches[id] != nil {
		return j.watches[id]
	}
	for int(id) >= len(j.watches) {
		j.watches = append(j.watches, nil)
	}
	now := sensors.Now()
	w := &watch{arrived: now, since: now, deaf: now, from: j.Queue.Feeder(id)}
	w.last = sensors.Sample{Time: sensors.Steady(), Value: math.NaN()} // nothing yet
	j.judgeBy(w, j.Watch(j.Queue.Channel(id)))
	j.Memory.load(w)
	for class := range alarms.Classes {
		j.restore(w, class)
	}
	j.watches[id] = w
	return w
}

// judgeBy gives the channel its detectors.
func (j *Judge) judgeBy(w *watch, by Watch) {
	w.Watch, w.Settings = by, nil
	if w.Low == 0 && w.High == 0 {
		w.Low, w.High = math.Inf(-1), math.Inf(1)
	}
	var is kind
	for i, d := range w.Detectors {
		t := d.Traits()
		if w.Severity != detectors.None && t.Status == detectors.Normal {
			t.Severity = w.Severity
		}
		is.traits, is.holds = append(is.traits, t), append(is.holds, hold(d, t))
		if _, ok := d.(detectors.Ticker); ok {
			is.tickers = append(is.tickers, i)
		}
	}
	at := slices.IndexFunc(j.kinds, func(k kind) bool {
		return slices.Equal(k.traits, is.traits) && slices.Equal(k.holds, is.holds) && slices.Equal(k.tickers, is.tickers)
	})
	if at < 0 {
		at, j.kinds = len(j.kinds), append(j.kinds, is)
	}
	w.kind = j.kinds[at]
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
	if j.endUnjudged(w, class) {
		return
	}
	w.speaker[class] = w.speakerOf(class)
	w.unsure[class] = a.Active() && w.speaker[class] >= 0
}

// endUnjudged ends the alarm of a class that no detector judges.
func (j *Judge) endUnjudged(w *watch, class alarms.Class) bool {
	if slices.ContainsFunc(w.traits, func(t detectors.Traits) bool { return alarms.ClassOf(t) == class }) {
		return false
	}
	j.end(&w.Channel, class, &w.alarm[class])
	return true
}

// speakerOf is the detector that speaks for the alarm of a class; -1 when it is gone.
func (w *watch) speakerOf(class alarms.Class) int {
	last := w.alarm[class].Last()
	return slices.IndexFunc(w.traits, func(t detectors.Traits) bool {
		return alarms.ClassOf(t) == class && t.Name == last.Traits.Name
	})
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
	j.Bell.Withdraw(c, class, a, sensors.Steady())
	j.count(before, a.Active())
}
