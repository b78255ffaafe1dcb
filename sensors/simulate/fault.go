package simulate

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Kind is what is wrong.
type Kind string

// The kinds of faults.
const (
	Bearing Kind = "bearing" // wears: vibration first, then temperature, then current
	Stuck   Kind = "stuck"   // a sensor says the same value again and again
	Silent  Kind = "silent"  // a sensor says nothing
	Spike   Kind = "spike"   // a sensor reads 40 standard deviations of its noise too high
)

// growth is how long a bearing wears that is never repaired.
const growth = 10 * time.Minute

// Fault is one thing that goes wrong.
type Fault struct {
	Pump     int    // from 1
	Quantity string // which sensor: "flow"; empty: vibration. A bearing's is always vibration
	Kind     Kind
	At       time.Duration // plant time
	// Length until it is mended. A bearing wears during the first half of it. 0:
	// never mended; a spike of length 0 is one reading.
	Length time.Duration
}

// Label says of one fault what a detector should have found.
type Label struct {
	Machine string        `json:"machine"` // "pump1"
	Channel string        `json:"channel"` // "pump1.vibration": where it shows, first
	Also    []string      `json:"also"`    // channels where it shows later
	Kind    Kind          `json:"kind"`
	Start   time.Duration `json:"start"` // plant time
	End     time.Duration `json:"end"`   // plant time; 0: it never ends
}

// Labels lists the faults that were scheduled, by their start.
func (p *Plant) Labels() []Label { return slices.Clone(p.labels) }

// schedule gives each fault to the sensor or the bearing that has it.
func (p *Plant) schedule(o Options) error {
	faults := slices.Clone(o.Faults)
	if o.Fault {
		faults = append(faults, Fault{Pump: 1, Kind: Bearing, At: o.FaultAt})
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return int(min(max(a.At-b.At, -1), 1)) })
	for i, f := range faults {
		if f.Quantity == "" || f.Kind == Bearing {
			f.Quantity = pump[vibration].quantity
		}
		q := slices.IndexFunc(pump[:], func(s sensor) bool { return s.quantity == f.Quantity })
		switch {
		case f.Pump < 1 || f.Pump > len(p.pumps):
			return fmt.Errorf("fault %d: there is no pump %d of %d", i+1, f.Pump, len(p.pumps))
		case q < 0:
			return fmt.Errorf("fault %d: a pump has no %q", i+1, f.Quantity)
		case f.At < 0 || f.Length < 0:
			return fmt.Errorf("fault %d: at %v, length %v: neither may be negative", i+1, f.At, f.Length)
		}
		of := (f.Pump - 1) * quantities
		label := Label{Machine: fmt.Sprintf("%s%d", o.Name, f.Pump), Channel: p.channels[of+q].Name, Kind: f.Kind, Start: f.At, End: f.end()}
		switch f.Kind {
		case Bearing:
			label.Also = []string{p.channels[of+bearingTemp].Name, p.channels[of+current].Name}
			p.pumps[f.Pump-1].faults = append(p.pumps[f.Pump-1].faults, f)
		case Stuck, Silent, Spike:
			p.sensors[of+q].faults = append(p.sensors[of+q].faults, f)
		default:
			return fmt.Errorf("fault %d: %q is none of bearing, stuck, silent, spike", i+1, f.Kind)
		}
		p.labels = append(p.labels, label)
	}
	return nil
}

// end is when the fault is over; 0 where it never is.
func (f *Fault) end() time.Duration {
	if f.Length == 0 && f.Kind != Spike {
		return 0
	}
	return f.At + f.Length
}

// fault is the sensor's fault at that time, nil for none. Those that are over
// are forgotten.
func (s *state) fault(at time.Duration) *Fault {
	for len(s.faults) > 0 && at >= s.faults[0].At {
		f := &s.faults[0]
		once := f.Kind == Spike && f.Length == 0
		if once && !s.spiked || !once && (f.Length == 0 || at < f.end()) {
			return f
		}
		s.faults, s.spiked = s.faults[1:], false
	}
	return nil
}

// worn is what a failing bearing adds.
type worn struct{ vibration, temperature, current float64 }

// wear grows from nothing: the vibration exponentially, as a spall does, to the
// 7.1 mm/s of ISO 20816-3's zone D and beyond; friction warms the bearing from a
// quarter of the way, and costs current from the half.
func wear(faults []Fault, at time.Duration) (w worn) {
	for i := range faults {
		f := &faults[i]
		if at < f.At || f.Length > 0 && at >= f.end() {
			continue
		}
		over := growth
		if f.Length > 0 {
			over = f.Length / 2
		}
		x := min(1, float64(at-f.At)/float64(max(1, over)))
		w.vibration += 7.5 * math.Expm1(3*x) / math.Expm1(3)
		if warm := (x - 0.25) / 0.75; warm > 0 {
			w.temperature += 25 * warm * warm
		}
		if drag := (x - 0.5) / 0.5; drag > 0 {
			w.current += 3 * drag * drag
		}
	}
	return w
}
