package detectors

import "math"

// Calibration sets the line of one statistic from the statistic's own past.
//
// Industrial readings are autocorrelated, cyclic and heavy-tailed: limits from
// theory, which assume independent Gaussian readings, alarm all day. So the
// line is learned by peaks over threshold (A. C. Davison and R. L. Smith, J. R.
// Stat. Soc. B 52 (1990) 393, with clusters by runs): the statistic's path is
// cut into excursions above its own mean, only the peak of each is kept, and an
// exponential tail above the largest of them is extrapolated to the rate of
// false alarms that Learning allows. Peaks of separate excursions are all but
// independent however autocorrelated the readings are; a cycle gives one or
// two, a lasting fault only one. The line never lies below the limit of theory.
//
// It is ready once Learning.Ready readings and six excursions have been seen: a
// statistic that never moved, or only ever rose, shows nothing of what is usual.
//
// It remembers as long a time as one false alarm is promised for. While the
// statistic is at the line, learning pauses; after a thirtieth of that time (or
// as long as was learned before, if shorter) it goes on, as if only that much
// were known, and the new regime becomes normal. What reached the line eight
// times in separate excursions becomes normal too. With one false alarm a month
// that is: after a day, or eight times a month.
//
// Used by one goroutine; allocates no more than its Counts do.
type Calibration struct {
	calibrationState
	tail     tail
	learning Learning
	theory   func(p float64) float64
}

// calibrationState is what outlives a restart, with the tail; its fields are
// exported for encoding/binary alone. What every reading needs comes first: of
// many channels, none is still in the processor's cache when its turn comes.
type calibrationState struct {
	Frozen   bool
	Rows     uint64  // seen
	Next     uint64  // row of the next refit
	Up, Down float64 // where an excursion begins and ends
	Peak     float64 // of the excursion under way; 0 outside one
	Slow     float64 // gain while learning goes on
	Gain     float64 // gain for the newest reading
	Line     float64 // 0 until ready
	Over     float64 // rows at the line, less those below it since
	Taken    float64 // rows learned from since the last refit
	Mean     float64 // of the statistic
	Last     uint64  // row of the last refit
	Since    uint64  // row at which Time was taken
	Time     int64   // ns
	Interval float64 // between two readings, ns; 0 until known
	Memory   float64 // rows that are remembered at most, and that one false alarm is promised for
	Weight   float64 // rows remembered
	Fresh    float64 // rows that were learned from, and that the gain stands for
	Patience float64 // rows at the line after which learning goes on
}

const (
	largest   = 4095    // what a statistic is clipped to: inside the last bin, so that even that can be learned
	settle    = 32      // rows for the baseline alone
	enough    = 6       // excursions before there is a line
	known     = 0.5     // weight of a peak that was an alarm already
	between   = 1024    // rows between two refits, at most
	patience  = 1. / 30 // part of the memory after which a lasting regime is learned
	leastRows = 1000    // that one false alarm may be promised for
	countable = 1 << 53 // a float64 still counts by one
)

// NewCalibration makes the calibration of a statistic that is ≥ 0 and about 1
// in size for Gaussian readings; theory gives its limit for a probability.
func NewCalibration(l Learning, theory func(p float64) float64) Calibration {
	c := Calibration{learning: l, theory: theory}
	c.Next, c.Slow, c.Up, c.Down = 1, 1, lowest, lowest/2
	c.Memory = max(l.FalseAlarmRows, leastRows)
	return c
}

// Score judges the statistic at a time (ns) and learns from it. The score is 0
// until ready, then stat/(stat+Limit): Line exactly at the limit.
func (c *Calibration) Score(t int64, stat float64) float64 {
	if stat > largest {
		stat = largest
	}
	if !c.Frozen {
		c.learn(t, stat)
	}
	if c.Line == 0 {
		return 0
	}
	return stat / (stat + c.Line)
}

// Limit is the statistic's line, at which the score is Line; 0 until ready.
func (c *Calibration) Limit() float64 { return c.Line }

// Rate is the weight with which the caller's own baseline may take in the
// reading that was scored last; 0 while learning pauses or has ended.
func (c *Calibration) Rate() float64 { return c.Gain }

// State is what outlives a restart, as parts of a State: those given follow.
func (c *Calibration) State(parts ...any) []any {
	return append([]any{&c.calibrationState, &c.tail}, parts...)
}

// Learning is what it was made with.
func (c *Calibration) Learning() Learning { return c.learning }

// Sound reports whether the state can be a calibration's.
func (c *calibrationState) Sound() bool {
	return Within(0, 1, c.Slow, c.Gain) && Within(0, largest, c.Mean, c.Peak, c.Up/2, c.Down) &&
		Within(0, countable, c.Weight, c.Fresh, c.Taken, c.Over, c.Patience, c.Line) &&
		Within(leastRows, math.MaxFloat64, c.Memory) && Within(0, math.MaxInt64, c.Interval)
}

// Freeze ends learning: line and baseline stay as they are.
func (c *Calibration) Freeze() {
	if c.Frozen {
		return
	}
	c.endExcursion()
	c.refit()
	c.Frozen, c.Gain = true, 0
}

func (c *Calibration) learn(t int64, stat float64) {
	c.Rows++
	if stat > c.Up {
		if stat > c.Peak {
			c.Peak = stat
		}
	} else if c.Peak > 0 && stat < c.Down {
		c.endExcursion()
	}
	c.Gain = c.Slow
	if c.Line > 0 && stat >= c.Line {
		c.pause()
	} else if c.Over > 0 {
		c.Over--
	}
	if c.Gain > 0 {
		c.Taken++
	}
	if most := float64(4*c.Mean) + 1; stat > most {
		stat = most
	}
	c.Mean += float64(c.Gain * (stat - c.Mean))
	if c.Rows >= c.Next {
		c.clock(t)
		c.refit()
	}
}

// pause stops learning at the line, for as long as patience lasts.
func (c *Calibration) pause() {
	if c.Over == 0 {
		c.Patience = min(float64(patience*c.Memory), c.Fresh)
	}
	if c.Over++; c.Over < c.Patience {
		c.Gain = 0
		return
	}
	c.Over = c.Patience
	c.Fresh = min(c.Fresh, c.Patience)
	c.Gain = 1 / max(c.Fresh, settle)
}

func (c *Calibration) endExcursion() {
	if c.Rows > settle && c.Peak > 0 {
		weight := 1.0
		if c.Line > 0 && c.Peak >= c.Line {
			weight = known
		}
		c.tail.add(c.Peak, weight)
	}
	c.Peak = 0
}

// refit brings up to date what need not be so at every reading.
func (c *Calibration) refit() {
	rows := float64(c.Rows - c.Last)
	c.Last = c.Rows
	c.Next = c.Rows + min(max(c.Rows/32, 1), between)
	c.Fresh, c.Taken = min(c.Fresh+c.Taken, c.Memory), 0
	c.Slow = 1 / max(c.Fresh, 1)
	c.Weight += rows
	switch {
	case c.Weight > float64(1.0625*c.Memory):
		c.forget(c.Memory / c.Weight)
	case c.tail.peaks > mostPeaks:
		c.forget(0.5)
	}
	c.Up, c.Down = max(float64(1.25*c.Mean), lowest), max(float64(0.75*c.Mean), lowest/2)
	if c.Rows >= uint64(max(c.learning.Ready, settle)) && (c.Line > 0 || c.tail.peaks >= enough && c.Peak == 0) {
		c.Line = max(c.theory(1/c.Memory), c.tail.limit(c.Weight, c.Memory))
	}
}

func (c *Calibration) forget(keep float64) {
	c.Weight *= keep
	c.tail.keep(keep)
}

// clock learns the usual time between two readings, and with it for how many
// rows one false alarm is promised. A gap counts for little, a clock that steps
// back for nothing.
func (c *Calibration) clock(t int64) {
	rows, passed := float64(c.Rows-c.Since), float64(t)-float64(c.Time)
	if c.Since > 0 && passed == 0 {
		return // several readings in one tick of the source's clock: count on
	}
	first := c.Since == 0
	c.Since, c.Time = c.Rows, t
	if first || passed < 0 {
		return
	}
	each := passed / rows
	if c.Interval == 0 {
		c.Interval = each
	}
	each = min(max(each, c.Interval/8), float64(8*c.Interval))
	c.Interval += float64((each - c.Interval) / 8)
	c.Memory = max(c.learning.FalseAlarmRows, leastRows, float64(c.learning.FalseAlarmEvery)/c.Interval)
}
