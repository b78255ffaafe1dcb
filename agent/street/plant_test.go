package street

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// The limits that the agent's configuration sets on every channel, in mm/s, and
// what the plant reads. An excursion reaches excess above one of them.
const (
	normal     = 5.0
	high       = 10.0
	highHigh   = 20.0
	hysteresis = 1.0
	excess     = 3.0
)

// Excursions of one channel come this far apart and last this long.
const (
	apartLeast = 2500 * time.Millisecond
	apartMost  = 4000 * time.Millisecond
	lastsLeast = 60 * time.Millisecond
	lastsMost  = 300 * time.Millisecond
)

// anomaly is the label of one excursion of one channel beyond a limit.
type anomaly struct {
	machine, channel string
	severity         string
	from, to         time.Time // of its first and last reading, as published
	sent             time.Time // just before its first reading went out
	taken            time.Time // when the broker had acknowledged it; zero until then
}

// plant publishes readings of machines × channels and labels what is wrong with
// them. It stands for what the agent does not control.
type plant struct {
	broker   string
	root     string // first level of its topics
	machines int
	channels int           // of each machine
	every    time.Duration // between two readings of a channel
	rarer    int           // excursions come this many times as far apart; 0 is 1

	mu        sync.Mutex
	anomalies []*anomaly
	readings  int
	resent    int           // messages that the broker may have had twice
	late      time.Duration // the furthest it fell behind its own clock
}

func machineName(m int) string { return fmt.Sprintf("m%d", m+1) }
func quantityName(c int) string {
	return fmt.Sprintf("c%02d", c)
}

// gauge is one channel: quiet until begin, beyond a limit until end.
type gauge struct {
	begin, end int // ticks
	value      float64
	label      *anomaly
}

// labels copies what was injected so far.
func (p *plant) labels() []anomaly {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]anomaly, len(p.anomalies))
	for i, a := range p.anomalies {
		list[i] = *a
	}
	return list
}

// run publishes until ctx ends, then ends every excursion and returns when the
// broker has acknowledged everything.
func (p *plant) run(ctx context.Context) error {
	mail, err := newCourier(p.broker, "plant-"+p.root)
	if err != nil {
		return err
	}
	defer func() { p.resent = mail.resent }()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	ticks := func(least, most time.Duration) int {
		return int((least + time.Duration(random.Int64N(int64(most-least)))) / p.every)
	}
	rarer := time.Duration(max(p.rarer, 1))
	gauges := make([][]gauge, p.machines)
	for m := range gauges {
		gauges[m] = make([]gauge, p.channels)
		for c := range gauges[m] {
			gauges[m][c].begin = 5 + ticks(0, rarer*apartLeast)
		}
	}
	start := time.Now().Truncate(time.Millisecond)
	var payload []byte
	for tick, closing := 0, 0; closing < 5; tick++ {
		at := start.Add(time.Duration(tick) * p.every)
		time.Sleep(time.Until(at))
		p.late = max(p.late, time.Since(at))
		if ctx.Err() != nil {
			closing++
		}
		for m := range gauges {
			var begun []*anomaly
			payload = strconv.AppendInt(append(payload[:0], `{"t":`...), at.UnixMilli(), 10)
			for c := range gauges[m] {
				g := &gauges[m][c]
				if tick == g.begin && closing == 0 {
					begun = append(begun, p.inject(g, m, c, random))
					g.end = tick + max(ticks(lastsLeast, lastsMost), 1)
				}
				v := normal + random.Float64()
				if g.label != nil {
					v = g.value + random.Float64()
					if tick >= g.end || closing > 0 {
						v, g.label, g.begin = normal, nil, tick+ticks(rarer*apartLeast, rarer*apartMost)
					} else {
						p.extend(g.label, at)
					}
				}
				payload = append(append(append(payload, `,"`...), quantityName(c)...), `":`...)
				payload = strconv.AppendFloat(payload, v, 'f', 3, 64)
			}
			payload = append(payload, '}')
			if err := mail.publish(p.root+"/"+machineName(m), string(payload), p.taken(begun)); err != nil {
				return err
			}
			p.readings += p.channels
		}
	}
	return mail.close()
}

// inject labels an excursion that begins now, one in eight beyond high_high.
func (p *plant) inject(g *gauge, m, c int, random *rand.Rand) *anomaly {
	g.label = &anomaly{machine: machineName(m), channel: machineName(m) + "." + quantityName(c), severity: "high", sent: time.Now()}
	g.value = high + excess
	if random.IntN(8) == 0 {
		g.label.severity, g.value = "critical", highHigh+excess
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.anomalies = append(p.anomalies, g.label)
	return g.label
}

func (p *plant) extend(a *anomaly, at time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.from.IsZero() {
		a.from = at
	}
	a.to = at
}

// taken notes when the broker had the first readings of these.
func (p *plant) taken(begun []*anomaly) func(time.Time) {
	if len(begun) == 0 {
		return nil
	}
	return func(at time.Time) {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, a := range begun {
			a.taken = at
		}
	}
}

// note adds an anomaly that something else than the plant's own channels has;
// change alters one under the lock that labels takes.
func (p *plant) note(a *anomaly) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.anomalies = append(p.anomalies, a)
}

func (p *plant) change(alter func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alter()
}

// awaken publishes an excursion of a machine of its own, over and over, until
// seen says that its event has come out at the other end.
func awaken(t *testing.T, broker, root string, seen func() bool) {
	t.Helper()
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(broker).SetClientID("canary-" + root))
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		t.Fatalf("connect the canary to %s: %v", broker, token.Error())
	}
	defer client.Disconnect(250)
	deadline := time.Now().Add(time.Minute)
	for i := 0; !seen(); i++ {
		if time.Now().After(deadline) {
			t.Fatal("the agent raised nothing within a minute of its start")
		}
		v := normal
		if i%2 == 1 {
			v = high + excess
		}
		client.Publish(root+"/canary", 1, false, fmt.Sprintf(`{"t":%d,"c00":%g}`, time.Now().UnixMilli(), v)).Wait()
		time.Sleep(50 * time.Millisecond)
	}
	client.Publish(root+"/canary", 1, false, fmt.Sprintf(`{"t":%d,"c00":%g}`, time.Now().UnixMilli(), normal)).Wait()
}
