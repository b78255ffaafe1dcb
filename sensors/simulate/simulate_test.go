package simulate_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"tocsin/sensors"
	"tocsin/sensors/sensortest"
	"tocsin/sensors/simulate"
)

func plant(t testing.TB, o simulate.Options) *simulate.Plant {
	t.Helper()
	o.Name = "pump"
	p, err := simulate.NewPlant(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// record steps a plant and gives each channel's values; NaN where it said
// nothing.
func record(t testing.TB, p *simulate.Plant, every, length time.Duration) map[string][]float64 {
	t.Helper()
	said := map[string][]float64{}
	var readings []simulate.Reading
	for at := time.Duration(0); at < length; at += every {
		row := make([]float64, len(p.Channels()))
		for i := range row {
			row[i] = math.NaN()
		}
		readings = p.Step(at, readings[:0])
		for _, r := range readings {
			row[r.Channel] = r.Value
		}
		for i, c := range p.Channels() {
			said[c.Name] = append(said[c.Name], row[i])
		}
	}
	return said
}

func equal(a, b []float64) bool {
	return slices.EqualFunc(a, b, func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) })
}

// stats leaves out what was not said.
func stats(values []float64) (mean, deviation float64, missing int) {
	var n float64
	for _, v := range values {
		if math.IsNaN(v) {
			missing++
			continue
		}
		mean, n = mean+v, n+1
	}
	mean /= n
	for _, v := range values {
		if !math.IsNaN(v) {
			deviation += (v - mean) * (v - mean) / n
		}
	}
	return mean, math.Sqrt(deviation), missing
}

func TestContract(t *testing.T) {
	var channels []sensors.Channel
	for _, name := range []string{"pump1", "pump2"} {
		for _, c := range []sensors.Channel{{Name: "vibration", Unit: "mm/s"}, {Name: "bearing_temp", Unit: "Cel"}, {Name: "current", Unit: "A"},
			{Name: "flow", Unit: "m3/h"}, {Name: "pressure", Unit: "bar"}, {Name: "speed", Unit: "/min"}} {
			channels = append(channels, sensors.Channel{Name: name + "." + c.Name, Unit: c.Unit})
		}
	}
	sensortest.Run(t, sensortest.Case{
		Channels: channels,
		New: func(t *testing.T) (sensors.Source, *sensortest.Device) {
			s, err := simulate.New(simulate.Options{Name: "pump", Pumps: 2, Interval: 2 * time.Millisecond, Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			return s, &sensortest.Device{}
		},
	})
}

func TestSameSeedSameReadings(t *testing.T) {
	o := simulate.Options{Pumps: 3, Seed: 7, Fault: true, FaultAt: time.Minute}
	one, two := record(t, plant(t, o), time.Second, 5*time.Minute), record(t, plant(t, o), time.Second, 5*time.Minute)
	o.Seed++
	other := record(t, plant(t, o), time.Second, 5*time.Minute)
	for name := range one {
		if !equal(one[name], two[name]) {
			t.Errorf("%s differs although the seed is the same", name)
		}
		if equal(one[name], other[name]) {
			t.Errorf("%s is the same although the seed differs", name)
		}
	}
}

// A healthy day: every reading near what the pump's plate says, none far out,
// now and then one missing.
func TestHealthyDay(t *testing.T) {
	said := record(t, plant(t, simulate.Options{Pumps: 2, Seed: 3}), time.Second, 24*time.Hour)
	for name, values := range said {
		mean, deviation, missing := stats(values)
		if share := float64(missing) / float64(len(values)); share < 1e-4 || share > 1e-3 {
			t.Errorf("%s: %.2g of the readings are missing", name, share)
		}
		for i, v := range values {
			if math.Abs(v-mean) > 6*deviation {
				t.Fatalf("%s: reading %d is %v, normal is %.2f ± %.2f", name, i, v, mean, deviation)
			}
		}
		if distinct := len(slices.Compact(slices.Sorted(slices.Values(values)))) - missing; distinct < 8 {
			t.Errorf("%s: %d distinct values in a day", name, distinct)
		}
	}
}

// correlation of two channels' means over 10 s.
func correlation(a, b []float64) float64 {
	var x, y []float64
	for i := 0; i+10 <= len(a); i += 10 {
		ma, _, _ := stats(a[i : i+10])
		mb, _, _ := stats(b[i : i+10])
		x, y = append(x, ma), append(y, mb)
	}
	mx, dx, _ := stats(x)
	my, dy, _ := stats(y)
	var sum float64
	for i := range x {
		sum += (x[i] - mx) * (y[i] - my)
	}
	return sum / float64(len(x)) / dx / dy
}

// The load couples the sensors of a pump as physics does.
func TestCoupling(t *testing.T) {
	said := record(t, plant(t, simulate.Options{Pumps: 1, Seed: 3}), time.Second, time.Hour)
	for _, c := range []struct {
		a, b      string
		low, high float64
	}{{"flow", "current", 0.5, 1}, {"flow", "pressure", -1, -0.5}, {"flow", "speed", -1, -0.5}, {"flow", "bearing_temp", 0.1, 1}} {
		if r := correlation(said["pump1."+c.a], said["pump1."+c.b]); r < c.low || r > c.high {
			t.Errorf("%s and %s correlate by %.2f, want %v to %v", c.a, c.b, r, c.low, c.high)
		}
	}
}

// first is when the mean of ten readings first lies this many deviations above
// what it was in the first five minutes.
func first(values []float64, deviations float64) int {
	mean, deviation, _ := stats(values[:300])
	for i := 300; i+10 <= len(values); i++ {
		if m, _, _ := stats(values[i : i+10]); m > mean+deviations*deviation {
			return i
		}
	}
	return len(values)
}

// A bearing begins inside every limit and shows in vibration first, then in
// temperature, then in current, and in nothing else.
func TestBearing(t *testing.T) {
	healthy := record(t, plant(t, simulate.Options{Pumps: 2, Seed: 1}), time.Second, 20*time.Minute)
	said := record(t, plant(t, simulate.Options{Pumps: 2, Seed: 1, Fault: true, FaultAt: 5 * time.Minute}), time.Second, 20*time.Minute)
	v, temp, amps := first(said["pump1.vibration"], 4), first(said["pump1.bearing_temp"], 4), first(said["pump1.current"], 4)
	if !(300 < v && v < temp && temp < amps && amps < 900) {
		t.Errorf("vibration shows after %d s, temperature after %d, current after %d; want that order, after 300", v, temp, amps)
	}
	if end, _, _ := stats(said["pump1.vibration"][1100:]); end < 7.1 {
		t.Errorf("vibration ends at %.1f mm/s, want zone D", end)
	}
	for name, values := range said {
		if got := values[:300]; !equal(got, healthy[name][:300]) {
			t.Errorf("%s is not as it was before the fault", name)
		}
		touched := slices.Contains([]string{"pump1.vibration", "pump1.bearing_temp", "pump1.current"}, name)
		if equal(values, healthy[name]) == touched {
			t.Errorf("%s: touched by the fault: %v, want %v", name, !touched, touched)
		}
	}
}

// Each fault of a sensor lasts as long as its label says, and changes no other.
func TestSensorFaults(t *testing.T) {
	faults := []simulate.Fault{
		{Pump: 2, Quantity: "flow", Kind: simulate.Stuck, At: 100 * time.Second, Length: 50 * time.Second},
		{Pump: 1, Quantity: "pressure", Kind: simulate.Silent, At: 20 * time.Second, Length: 30 * time.Second},
		{Pump: 1, Kind: simulate.Spike, At: 60 * time.Second},
		{Pump: 1, Kind: simulate.Spike, At: 80 * time.Second, Length: 3 * time.Second},
		{Pump: 1, Quantity: "speed", Kind: simulate.Silent, At: 150 * time.Second},
	}
	healthy := record(t, plant(t, simulate.Options{Pumps: 2, Seed: 5}), time.Second, 200*time.Second)
	p := plant(t, simulate.Options{Pumps: 2, Seed: 5, Faults: faults})
	said := record(t, p, time.Second, 200*time.Second)
	want := map[string][2]int{"pump1.pressure": {20, 50}, "pump2.flow": {100, 150}, "pump1.speed": {150, 200}}
	for name, values := range said {
		for i, v := range values {
			same := v == healthy[name][i] || math.IsNaN(v) && math.IsNaN(healthy[name][i])
			switch span := want[name]; {
			case name == "pump1.vibration" && (i == 60 || i >= 80 && i < 83):
				if math.Abs(v-healthy[name][i]-40*0.12) > 1e-9 {
					t.Errorf("%s at %d s: %v, want a spike", name, i, v)
				}
			case i < span[0] || i >= span[1]:
				if !same {
					t.Errorf("%s at %d s: %v, want %v as without faults", name, i, v, healthy[name][i])
				}
			case name == "pump2.flow" && v != values[99] || name != "pump2.flow" && !math.IsNaN(v):
				t.Errorf("%s at %d s: %v in the middle of its fault", name, i, v)
			}
		}
	}
	var labels []string
	for _, l := range p.Labels() {
		labels = append(labels, strings.Join([]string{l.Machine, l.Channel, string(l.Kind), l.Start.String(), l.End.String()}, " "))
	}
	if want := []string{"pump1 pump1.pressure silent 20s 50s", "pump1 pump1.vibration spike 1m0s 1m0s", "pump1 pump1.vibration spike 1m20s 1m23s",
		"pump2 pump2.flow stuck 1m40s 2m30s", "pump1 pump1.speed silent 2m30s 0s"}; !slices.Equal(labels, want) {
		t.Errorf("labels %q\nwant %q", labels, want)
	}
}

func TestOptions(t *testing.T) {
	for says, o := range map[string]simulate.Options{
		"at least one": {}, "no name": {Name: "", Pumps: 1}, "no pump 3": {Pumps: 2, Faults: []simulate.Fault{{Pump: 3, Kind: simulate.Spike}}},
		`no "rpm"`:   {Pumps: 1, Faults: []simulate.Fault{{Pump: 1, Quantity: "rpm", Kind: simulate.Spike}}},
		`"leak"`:     {Pumps: 1, Faults: []simulate.Fault{{Pump: 1, Kind: "leak"}}},
		"negative":   {Pumps: 1, Faults: []simulate.Fault{{Pump: 1, Kind: simulate.Spike, At: -1}}},
		"cycle":      {Pumps: 1, Cycle: -1},
		"interval 0": {Pumps: 1},
	} {
		if says != "no name" {
			o.Name = "pump"
		}
		_, err := simulate.NewPlant(o)
		if says == "interval 0" {
			_, err = simulate.New(o)
		}
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want an error that says %q", o, err, says)
		}
	}
}

// hundred is a plant of 102 channels at 100 Hz.
func hundred(tb testing.TB) func() {
	p := plant(tb, simulate.Options{Pumps: 17, Seed: 1, Fault: true, Faults: []simulate.Fault{{Pump: 2, Kind: simulate.Spike, At: time.Second}}})
	var at time.Duration
	readings := make([]simulate.Reading, 0, len(p.Channels()))
	return func() {
		readings = p.Step(at, readings[:0])
		at += 10 * time.Millisecond
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(1000, hundred(t)); n != 0 {
		t.Errorf("%v allocations a step, want 0", n)
	}
}

func BenchmarkStepOf102Channels(b *testing.B) {
	step := hundred(b)
	b.ReportAllocs()
	for b.Loop() {
		step()
	}
}
