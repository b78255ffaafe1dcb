package pipeline

import (
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/sensors"
)

const (
	// tick is how often detectors that wait for silence are asked.
	tick = time.Second
	// A judge that stood still for longer than stall, because the disk took no
	// events, has not seen what arrived meanwhile: nobody is called silent for as
	// long as recovery after it.
	stall, recovery = 5 * time.Second, 10 * time.Second
	// patience is how long an alarm of an earlier run may wait for its channel to
	// be found again, or for its detectors to have learned enough to clear it.
	patience = time.Hour
)

// Judge takes batches, lets each channel's detectors judge them and gives what
// they find to the bell. One goroutine, no locks, no allocation a sample.
type Judge struct {
	Queue *sensors.Queue
	// Watch makes the detectors of a channel when its first sample comes, and says
	// the same of it whenever it is asked.
	Watch    func(sensors.Channel) Watch
	Bell     *alarms.Bell
	Restored *alarms.Restored
	// Fixed says that no channel will be found later: an alarm that an earlier run
	// left on one that is not known is withdrawn at once, and not after an hour.
	Fixed  bool
	Memory *Memory      // nil: nothing is remembered over a restart
	Clock  *clock.Clock // nil: the kernel's
	Feed   *Feed        // nil: nobody wants scores or readings
	Log    *slog.Logger

	Alarms  atomic.Int64 // how many are active now
	Round   atomic.Int64 // when it last came round, by sensors.Now; 0: it has not begun
	watches []*watch     // by ChannelID
	kinds   []kind       // of all watches
	now     clock.Reading
	orphans int64 // since when Restored waits to be asked for, by sensors.Now
	deaf    int64 // until then nobody is called silent, by sensors.Now
}

// Run judges until the queue is closed and empty. Channels that are known from
// the start are watched from the start: a sensor that never speaks is missed too.
func (j *Judge) Run() {
	for _, id := range j.Queue.Fed() {
		j.watch(id)
	}
	if j.Fixed {
		j.withdraw()
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	began := sensors.Now()
	j.Round.Store(began)
	j.orphans, j.deaf = began, began
	for ticked := began; ; {
		b, err := j.Queue.Take(ticker.C)
		if errors.Is(err, io.EOF) {
			j.remember()
			j.Feed.finish()
			return
		}
		if b != nil {
			j.batch(b)
		}
		if now := sensors.Now(); now-ticked >= int64(tick) {
			if now-ticked > int64(stall) {
				j.deaf = now + int64(recovery)
			}
			j.look() // and say soon when the clock was set
			j.tick(now)
			j.Feed.tick(now)
			j.Memory.saveHourly(j.watches)
			ticked = now
			j.Round.Store(now)
		}
	}
}

func (j *Judge) batch(b *sensors.Batch) {
	from := b.From()
	judged := 0
	if j.Feed != nil {
		j.look()
	}
	for i := range b.Samples {
		if j.sample(&b.Samples[i], b.Arrived, from) {
			judged++
		}
	}
	from.Counters.Judged.Add(uint64(judged))
	from.Counters.Latest.Store(b.Arrived)
	b.Release()
}

// sample judges one reading and reports whether it was fit to be judged.
func (j *Judge) sample(s *sensors.Sample, arrived int64, from *sensors.Writer) bool {
	w := j.watch(s.Channel)
	w.from = from
	if s.Quality.IsBad() { // to the watchdog of silence it is no reading
		from.Counters.Refuse(sensors.BadQuality, 1)
		return false
	}
	w.last, w.arrived = *s, arrived
	inRange := s.Value >= w.Low && s.Value <= w.High
	if !inRange {
		s.Quality = max(s.Quality, sensors.UncertainEngineeringUnit|s.Quality&sensors.DeviceTime)
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
		v := d.Judge(window)
		if w.unsure[class] && i == w.speaker[class] {
			w.unsure[class] = arrived-w.since < int64(patience) && w.cannotTell(class, v, s.Value)
		}
		if best[class] < 0 || graver(&v, &w.traits[i], &verdicts[class], &w.traits[best[class]]) {
			best[class], verdicts[class] = i, v
		}
	}
	for class, i := range best {
		found := i >= 0 && verdicts[class].Score >= detectors.Line
		w.unsure[class] = w.unsure[class] && !found
		if found || i >= 0 && w.alarm[class].Active() && !w.unsure[class] {
			j.find(w, alarms.Class(class), alarms.Finding{Time: s.Time, Seen: s.Time, Own: own(s), Value: s.Value, Quality: s.Quality,
				Verdict: verdicts[class], Traits: w.traits[i], Hold: w.holds[i]})
		}
	}
	if j.Feed != nil {
		j.Feed.add(w, j.wall(s), s.Value, &best, &verdicts)
	}
	return inRange
}

// graver orders verdicts of one class: what reaches the line before what does
// not, then by severity, then by score.
func graver(v *detectors.Verdict, t *detectors.Traits, than *detectors.Verdict, its *detectors.Traits) bool {
	found, foundThan := v.Score >= detectors.Line, than.Score >= detectors.Line
	if found && foundThan {
		s, sThan := alarms.SeverityOf(*v, *t), alarms.SeverityOf(*than, *its)
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
	if j.Restored.Any() && now-j.orphans >= int64(patience) {
		j.withdraw()
	}
	if now < j.deaf {
		return
	}
	for _, w := range j.watches {
		if w == nil || now < w.deaf || w.from != nil && w.from.Ended() {
			continue
		}
		for _, i := range w.tickers {
			v := w.Detectors[i].(detectors.Ticker).Tick(now)
			if v.Score < detectors.Line {
				continue
			}
			j.find(w, alarms.Sensor, alarms.Finding{Time: w.last.Time + now - w.arrived, Seen: w.last.Time, Own: own(&w.last), Value: w.last.Value,
				Quality: sensors.BadNoCommunication, Verdict: v, Traits: w.Detectors[i].Traits()})
		}
	}
}

func (j *Judge) remember() {
	if err := j.Memory.save(j.watches); err != nil {
		j.Log.Error("the detectors will learn afresh after the next start", "error", err)
	}
}
