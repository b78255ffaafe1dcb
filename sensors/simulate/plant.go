package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"tocsin/sensors"
)

// A pump is a centrifugal pump of 11 kW on a four-pole motor at 50 Hz. Its load
// moves flow, head, current, slip and, slowly, the bearing's temperature, along
// the usual curves; the swing stays within a few times the sensors' noise, as on
// a pump that feeds one process.
type sensor struct {
	quantity, unit string
	normal         float64 // at mean load
	load           float64 // what the swing of the load adds at its top
	noise          float64 // standard deviation
	steps          float64 // per unit, of the analogue-digital converter
}

// The sensors of a pump, by their index.
const (
	vibration = iota // velocity, RMS, as ISO 20816-3 judges it
	bearingTemp
	current
	flow
	pressure
	speed
	quantities // how many there are
)

var pump = [quantities]sensor{
	vibration:   {"vibration", "mm/s", 1.8, 0.05, 0.12, 100},
	bearingTemp: {"bearing_temp", "Cel", 48, 0.5, 0.4, 10},
	current:     {"current", "A", 21, 0.4, 0.2, 20},
	flow:        {"flow", "m3/h", 80, 2.0, 0.8, 10},
	pressure:    {"pressure", "bar", 6, -0.06, 0.03, 100},
	speed:       {"speed", "/min", 1475, -3, 1.5, 10},
}

const (
	day     = 24 * time.Hour
	ambient = 0.5 // K by which the heated hall is warmer in the afternoon than on average, and colder at night

	dropOut    = 1.0 / 5000 // of readings begin one
	longestOut = 3          // readings
	tableSize  = 4096       // of the noise and of the cosine; a power of two
)

// Reading is what one sensor says.
type Reading struct {
	Channel int // index into Plant.Channels
	Value   float64
}

// Plant is the model. It has no clock and no goroutine: time is what Step is
// told. Not safe for concurrent use.
type Plant struct {
	channels []sensors.Channel
	sensors  []state // by channel
	pumps    []pumpState
	labels   []Label
	cycle    time.Duration
	random   *rand.PCG
	last     time.Duration

	normal, cosine [tableSize]float64
}

// pumpState is what differs from pump to pump and from moment to moment.
type pumpState struct {
	turned  uint64  // its load cycle begins at the top (0) or at the bottom: both show the whole swing within half a cycle
	warmth  float64 // the load as the bearing feels it, with a lag
	started bool
	faults  []Fault // of the bearing
}

// state is one sensor at work.
type state struct {
	normal float64
	held   float64 // the last value said
	out    int     // readings that a drop-out will still swallow
	faults []Fault // of this sensor, in order
	spiked bool    // the first of faults has been said
}

// NewPlant makes the model.
func NewPlant(o Options) (*Plant, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	p := &Plant{cycle: o.Cycle, random: rand.NewPCG(o.Seed, 0), pumps: make([]pumpState, o.Pumps)}
	for i := range tableSize {
		// The quantiles of the normal distribution, so that none is further out than 3.7.
		p.normal[i] = math.Sqrt2 * math.Erfinv(2*(float64(i)+0.5)/tableSize-1)
		p.cosine[i] = math.Cos(2 * math.Pi * float64(i) / tableSize)
	}
	for i := range o.Pumps {
		p.pumps[i].turned = uint64(i%2) * tableSize / 2
		for _, s := range pump {
			name := fmt.Sprintf("%s%d.%s", o.Name, i+1, s.quantity)
			p.channels = append(p.channels, sensors.Channel{Name: name, Unit: s.unit})
			spread := 0.95 + 0.1*float64(p.random.Uint64()>>11)/(1<<53) // no two pumps are alike
			p.sensors = append(p.sensors, state{normal: s.normal * spread})
		}
	}
	return p, p.schedule(o)
}

// Channels lists the sensors: vibration, bearing_temp, current, flow, pressure
// and speed of the first pump, then those of the next.
func (p *Plant) Channels() []sensors.Channel { return p.channels }

// Step appends to into what the sensors say at a plant time, which must not go
// back. A sensor that drops out or is silent says nothing. The same steps give
// the same readings; Step allocates nothing.
func (p *Plant) Step(at time.Duration, into []Reading) []Reading {
	elapsed := at - p.last
	p.last = at
	hall := ambient * p.wave(at, day, 3*tableSize/4) // a sine: from the average up
	for i := range p.pumps {
		u := &p.pumps[i]
		load := float64(0.8*p.wave(at, p.cycle, u.turned)) + float64(0.2*p.wave(3*at, p.cycle, 3*u.turned))
		u.warm(load, elapsed, p.cycle)
		worn := wear(u.faults, at)
		for q := range quantities {
			id := i*quantities + q
			swing := load
			if q == bearingTemp {
				swing = u.warmth
			}
			value := p.sensors[id].normal + float64(pump[q].load*swing)
			switch q {
			case vibration:
				value += worn.vibration
			case bearingTemp:
				value += hall + worn.temperature
			case current:
				value += worn.current
			}
			if v, says := p.say(id, q, value, at); says {
				into = append(into, Reading{Channel: id, Value: v})
			}
		}
	}
	return into
}

// wave is a cosine of plant time, shifted by a number of table steps.
func (p *Plant) wave(at, period time.Duration, shift uint64) float64 {
	turn := float64(at%period) / float64(period)
	return p.cosine[(uint64(turn*tableSize)+shift)%tableSize]
}

// warm lets the bearing follow the load, three tenths of a cycle behind.
func (u *pumpState) warm(load float64, elapsed, cycle time.Duration) {
	if !u.started {
		u.warmth, u.started = load, true
		return
	}
	u.warmth += float64(min(1, float64(elapsed)/(0.3*float64(cycle))) * (load - u.warmth))
}

// say adds what the sensor itself does to a value: noise, steps, drop-outs, and
// its own faults. It draws the same numbers whatever happens, so that a fault
// changes no reading but its own.
func (p *Plant) say(id, q int, value float64, at time.Duration) (float64, bool) {
	s, draw := &p.sensors[id], p.random.Uint64()
	value += float64(pump[q].noise * p.normal[draw%tableSize])
	value = math.Round(value*pump[q].steps) / pump[q].steps
	if float64(draw>>12) < dropOut*(1<<52) && s.out == 0 {
		s.out = 1 + int(draw>>12%longestOut)
	}
	out := s.out > 0
	if out {
		s.out--
	}
	if f := s.fault(at); f != nil {
		switch f.Kind {
		case Silent:
			return 0, false
		case Stuck:
			return s.held, true
		case Spike:
			s.spiked = true
			return value + float64(40*pump[q].noise), true
		}
	}
	if out {
		return 0, false
	}
	s.held = value
	return value, true
}
