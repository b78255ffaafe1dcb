package detectors

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestLogarithm(t *testing.T) {
	for x := 1e-300; x < 1e300; x *= 1.37 {
		if got, want := Logarithm(x), math.Log(x); math.Abs(got-want) > 1e-12*(1+math.Abs(want)) {
			t.Fatalf("log %g = %.17g, want %.17g", x, got, want)
		}
	}
}

func TestGaussian(t *testing.T) {
	for p, want := range map[float64]float64{0.05: 1.95996, 0.0027: 2.99998, 1e-4: 3.89059, 1e-6: 4.89164, 1 / 2.592e6: 5.0756} {
		if got := Gaussian(p); math.Abs(got-want) > 5e-4 {
			t.Errorf("two-sided limit for %g: %g, want %g", p, got, want)
		}
	}
}

// feed scores n readings, a second apart, and returns the last score.
func feed(c *Calibration, from, n int, stat func(i int) float64) (score float64) {
	for i := from; i < from+n; i++ {
		score = c.Score(int64(i)*int64(time.Second), stat(i))
	}
	return score
}

func absNormal() func(int) float64 {
	r := rand.New(rand.NewPCG(1, 1))
	return func(int) float64 { return math.Abs(r.NormFloat64()) }
}

func TestLineIsWhereScoreIsAHalf(t *testing.T) {
	c := NewCalibration(Learning{Ready: 300, FalseAlarmRows: 20000}, Gaussian)
	if feed(&c, 0, 299, absNormal()); c.Limit() != 0 {
		t.Fatal("a line before it is ready")
	}
	feed(&c, 299, 700, absNormal())
	c.Freeze()
	limit := c.Limit()
	if limit < Gaussian(1./20000) {
		t.Fatalf("line %g, below the limit of theory", limit)
	}
	if got := c.Score(0, limit); got != Line {
		t.Errorf("score %g at the line", got)
	}
	below, above := c.Score(0, limit-0.001), c.Score(0, limit+0.001)
	if below >= Line || above <= Line || c.Score(0, 1e300) > 1 || c.Score(0, 0) != 0 {
		t.Errorf("scores about the line: %g, %g", below, above)
	}
	if c.Limit() != limit || c.Rate() != 0 {
		t.Error("it learned after Freeze")
	}
}

// The promise is kept in rows or in time, whichever is rarer; a gap, a clock
// that steps back and readings of one time do not change what is usual.
func TestUsualInterval(t *testing.T) {
	l := Learning{Ready: 300, FalseAlarmRows: 20000, FalseAlarmEvery: 30 * 24 * time.Hour}
	const month = 30 * 86400
	at := int64(0)
	for name, c := range map[string]struct {
		step func(i int) time.Duration
		want float64 // rows
	}{
		"1 Hz":             {func(int) time.Duration { return time.Second }, month},
		"100 Hz":           {func(int) time.Duration { return 10 * time.Millisecond }, 100 * month},
		"once an hour":     {func(int) time.Duration { return time.Hour }, 20000},
		"ten of one time":  {func(i int) time.Duration { return time.Duration(i%10/9) * 10 * time.Second }, month},
		"gap of a weekend": {func(i int) time.Duration { return time.Second + time.Duration(i/4000%2*(i%4000/3999))*60*time.Hour }, month},
		"steps back at first": {func(i int) time.Duration {
			if i == 1 {
				return -time.Hour
			}
			return time.Second
		}, month},
		"clock steps back": {func(i int) time.Duration { return time.Second - time.Duration(i%1000/999)*time.Hour }, month},
	} {
		cal, stat := NewCalibration(l, Gaussian), absNormal()
		for i := range 20_000 {
			at += int64(c.step(i))
			cal.Score(at, stat(i))
			if i > 2000 && (cal.Memory < c.want/2 || cal.Memory > 2*c.want) {
				t.Fatalf("%s, row %d: one false alarm promised in %.0f rows, want %.0f", name, i, cal.Memory, c.want)
			}
		}
	}
}

// What comes back again and again is normal, however far out it lies; a spike
// that never came before is not.
func TestHabitIsInside(t *testing.T) {
	stat := absNormal()
	habit := func(i int) float64 {
		if i%900 == 899 {
			return 50
		}
		return stat(i)
	}
	c := NewCalibration(Learning{Ready: 300, FalseAlarmRows: 20000}, Gaussian)
	alarms := 0
	for i := range 90_000 {
		if c.Score(int64(i)*1e9, habit(i)) >= Line {
			alarms++
		}
	}
	if alarms == 0 || alarms > 8 {
		t.Errorf("a habit of 50 alarmed %d times, want 1 to 8", alarms)
	}
	if got := feed(&c, 90_000, 1, func(int) float64 { return 200 }); got < Line {
		t.Errorf("score %g at four times the habit", got)
	}
}

// A statistic that only ever rises, or never moves, shows nothing of what is
// usual: there is no line.
func TestNotReadyWithoutExcursions(t *testing.T) {
	for name, stat := range map[string]func(int) float64{
		"constant": func(int) float64 { return 3 },
		"zero":     func(int) float64 { return 0 },
		"rising":   func(i int) float64 { return float64(i) },
	} {
		c := NewCalibration(Learning{Ready: 300, FalseAlarmRows: 20000}, Gaussian)
		if feed(&c, 0, 50_000, stat); c.Limit() != 0 {
			t.Errorf("%s: line %g", name, c.Limit())
		}
	}
}

// What goes on while it becomes ready may be a fault: it waits for the end.
func TestNotReadyWithinAnExcursion(t *testing.T) {
	c, stat := NewCalibration(Learning{Ready: 300, FalseAlarmRows: 20000}, Gaussian), absNormal()
	feed(&c, 0, 280, stat)
	if feed(&c, 280, 100, func(int) float64 { return 50 }); c.Limit() != 0 {
		t.Errorf("line %g in the middle of an excursion", c.Limit())
	}
	if feed(&c, 380, 200, stat); c.Limit() == 0 {
		t.Error("no line after it")
	}
}

func TestFourEqualPeaksAreInside(t *testing.T) {
	for peak := 0.7; peak < largest; peak *= 1.013 {
		var p tail
		p.add(peak/10, 5000)
		for range fewest {
			p.add(peak, 1)
		}
		if got := p.limit(20000, 20000); got <= peak || got > 1.1*peak {
			t.Fatalf("limit %g after four peaks of %g in all the time remembered", got, peak)
		}
		if got := p.limit(300, 20000); got < 1.05*peak {
			t.Fatalf("limit %g after four peaks of %g in a short time", got, peak)
		}
	}
}

func TestLearningPausesAtTheLine(t *testing.T) {
	c := NewCalibration(Learning{Ready: 300, FalseAlarmRows: 60000}, Gaussian)
	feed(&c, 0, 5000, absNormal())
	line := c.Limit()
	feed(&c, 5000, 1, func(int) float64 { return 100 })
	for i := range 1900 { // patience is 60,000 / 30 rows
		if c.Score(int64(5001+i)*1e9, 100) < Line || c.Rate() != 0 {
			t.Fatalf("row %d of a lasting fault: rate %g", i, c.Rate())
		}
	}
	if c.Limit() > 1.1*line {
		t.Errorf("the line moved from %g to %g", line, c.Limit())
	}
	if feed(&c, 6901, 200, func(int) float64 { return 100 }); c.Rate() == 0 {
		t.Error("learning never goes on")
	}
}

func TestBaselineIsRobust(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var b Baseline
	for i := range 20_000 {
		x := 230 + r.NormFloat64()
		if i < 3 || i%100 == 0 {
			x = 65535 // a register before its first value, and a bad reading in a hundred
		}
		b.Learn(x, 1/float64(i+1))
	}
	if math.Abs(b.Mean-230) > 0.2 || b.Spread < 0.8 || b.Spread > 2 {
		t.Errorf("level %g ± %g, want 230 ± 1", b.Mean, b.Spread)
	}
}

func TestWander(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for name, c := range map[string]struct {
		x         func(i int) float64
		low, high float64
	}{
		"independent": {func(int) float64 { return r.NormFloat64() }, 0.04, 0.09}, // 1/√256
		"slow cycle":  {func(i int) float64 { return math.Sin(float64(i)/800) + r.NormFloat64()/10 }, 0.8, 1.3},
	} {
		var b Baseline
		for i := range 30_000 {
			b.Learn(c.x(i), 1/float64(i+1))
		}
		if b.Wander < c.low || b.Wander > c.high {
			t.Errorf("%s: wander %g, want %g to %g", name, b.Wander, c.low, c.high)
		}
	}
}
