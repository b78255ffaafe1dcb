package cli

import (
	"testing"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/config"
	"tocsin/detectors"
	"tocsin/sensors/simulate"
)

// alarmsOf judges a simulated plant with the defaults of a new site and returns
// how often each channel was found anomalous anew, and when first.
func alarmsOf(t *testing.T, o simulate.Options, length time.Duration) (count map[string]int, first map[string]time.Duration) {
	t.Helper()
	plant, err := simulate.NewPlant(o)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	var judges [][]detectors.Detector
	for _, c := range plant.Channels() {
		judges = append(judges, watch(cfg, c).Detectors)
	}
	count, first = map[string]int{}, map[string]time.Duration{}
	found := make([]bool, len(judges))
	var readings []simulate.Reading
	for at := time.Duration(0); at < length; at += o.Interval {
		readings = plant.Step(at, readings[:0])
		for _, r := range readings {
			w := detectors.Window{Time: int64(at), Arrived: int64(at), Value: r.Value}
			now := false
			for _, d := range judges[r.Channel] {
				v := d.Judge(w)
				now = now || v.Score >= detectors.Line && alarms.ClassOf(d.Traits()) == alarms.Process
			}
			if name := plant.Channels()[r.Channel].Name; now && !found[r.Channel] {
				if count[name]++; count[name] == 1 {
					first[name] = at
				}
			}
			found[r.Channel] = now
		}
	}
	return count, first
}

func TestHealthyPumpsRaiseNothing(t *testing.T) {
	seeds, length := uint64(4), 24*time.Hour
	if raced || testing.Short() { // ten times as slow; what is judged is the same
		seeds, length = 2, 12*time.Hour
	}
	for seed := range seeds {
		count, _ := alarmsOf(t, simulate.Options{Name: "pump", Pumps: 2, Interval: time.Second, Seed: seed}, length)
		if len(count) > 0 {
			t.Errorf("seed %d: healthy pumps raised %v in %v", seed, count, length)
		}
	}
}

// The bearing begins to fail inside all limits; it is found before its vibration
// has doubled, which is half-way through the ten minutes of its growth.
func TestFailingBearingIsFound(t *testing.T) {
	const at = 2 * time.Hour
	for seed := range uint64(4) {
		_, first := alarmsOf(t, simulate.Options{Name: "pump", Pumps: 2, Interval: time.Second, Seed: seed, Fault: true, FaultAt: at}, at+10*time.Minute)
		found, ok := first["pump1.vibration"]
		if !ok || found < at || found > at+5*time.Minute {
			t.Errorf("seed %d: the bearing failed from %v on and was found at %v", seed, at, found)
		}
	}
}
