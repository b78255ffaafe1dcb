package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"tocsin/sensors/simulate"
)

const (
	pumpCount = 3
	every     = 50 * time.Millisecond // between two messages of a pump
	cycle     = 4 * time.Second       // of the load; a real one takes minutes
	quiet     = 8 * time.Second       // at the end: what began late may still be found
	round     = 40 * time.Second      // after which the faults begin anew
	slack     = 12 * time.Second      // after a fault's end in which its alarm still counts as its own
	shortest  = 30 * time.Second      // in which at least one fault begins and ends
)

// pumpSite reads every quantity of every pump with one row each.
func pumpSite(broker string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[detect]\nlearn = 150 # 7.5 s: a real site learns for longer\n[mqtt.pumps]\nbroker = %q\ntopics = [\n", broker)
	for _, row := range [][2]string{{"vibration", "mm/s"}, {"bearing_temp", "Cel"}, {"current", "A"}, {"flow", "m3/h"}, {"pressure", "bar"}, {"speed", "/min"}} {
		fmt.Fprintf(&b, "  {topic = \"plant/+\", pointer = \"/%s\", channel = \"{1}.%s\", unit = %q, time = \"/time\", time_format = \"unix_ms\"},\n", row[0], row[0], row[1])
	}
	b.WriteString("]\n")
	for i := range pumpCount {
		fmt.Fprintf(&b, "[limit.\"pump%d.vibration\"]\nhigh = 4.5\nhigh_high = 7.1\nhysteresis = 0.3\n", i+1)
	}
	return b.String()
}

// faults is what goes wrong, round after round. A killed agent learns anew, so
// nothing subtle happens while it does.
func (s *stage) faults() (list []simulate.Fault) {
	if s.noFault {
		return nil
	}
	last := 24 * time.Hour
	if s.length > 0 {
		last = s.length - quiet
	}
	for n := 0; time.Duration(n)*round < min(last, time.Hour); n++ {
		at, pump := time.Duration(n)*round, n%pumpCount
		next := func(i int) int { return (pump+i)%pumpCount + 1 }
		list = append(list, simulate.Fault{Pump: next(0), Kind: simulate.Bearing, At: at + 10*time.Second, Length: 10 * time.Second},
			simulate.Fault{Pump: next(1), Quantity: "current", Kind: simulate.Spike, At: at + 30*time.Second})
		if !s.kill {
			list = append(list, simulate.Fault{Pump: next(2), Quantity: "flow", Kind: simulate.Silent, At: at + 12*time.Second, Length: 13 * time.Second})
		}
	}
	var kept []simulate.Fault
	for _, f := range list {
		if f.At+f.Length <= last {
			kept = append(kept, f)
		}
	}
	return kept
}

// pumps lets the plant run and says in the end what became of its faults.
func (s *stage) pumps(ctx context.Context) (ok bool, err error) {
	plant, err := simulate.NewPlant(simulate.Options{Name: "pump", Pumps: pumpCount, Cycle: cycle, Seed: 1, Faults: s.faults()})
	if err != nil {
		return false, err
	}
	began := time.Now()
	s.screen.say("%d pumps publish to %s; the agent learns what is usual", pumpCount, s.broker.address)
	plantCtx, stopPlant := context.WithCancel(ctx)
	defer stopPlant()
	published := make(chan error, 1)
	go func() { published <- s.publish(plantCtx, plant, began) }()
	if err := s.trouble(ctx, began); err != nil {
		return false, err
	}
	if s.length > 0 {
		s.wait(ctx, began.Add(s.length-quiet/2))
	} else {
		<-ctx.Done()
	}
	ran := time.Since(began)
	s.settle(ctx)
	stopPlant() // only now: a plant that falls silent is a fault of its own
	if err := <-published; err != nil {
		return false, err
	}
	return s.verdict(plant.Labels(), began, ran), nil
}

// wait waits until a time and reports whether the demonstration goes on.
func (s *stage) wait(ctx context.Context, until time.Time) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(until)):
		return true
	}
}

// publish sends the readings of every pump as one JSON message, on time.
func (s *stage) publish(ctx context.Context, plant *simulate.Plant, began time.Time) error {
	channels := plant.Channels()
	announced := 0
	var readings []simulate.Reading
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 0; ; n++ {
		at := time.Duration(n) * every
		for labels := plant.Labels(); announced < len(labels) && labels[announced].Start <= at; announced++ {
			s.screen.say("now %s of %s begins: %s", labels[announced].Kind, labels[announced].Machine, labels[announced].Channel)
		}
		readings = plant.Step(at, readings[:0])
		byPump := map[string][]byte{}
		for _, r := range readings {
			machine, quantity, _ := strings.Cut(channels[r.Channel].Name, ".")
			if byPump[machine] == nil {
				byPump[machine] = strconv.AppendInt([]byte(`{"time":`), began.Add(at).UnixMilli(), 10)
			}
			byPump[machine] = strconv.AppendFloat(append(byPump[machine], `,"`+quantity+`":`...), r.Value, 'g', 8, 64)
		}
		for machine, payload := range byPump {
			if err := s.broker.publish("plant/"+machine, append(payload, '}')); err != nil {
				return fmt.Errorf("publish: %w", err)
			}
		}
		for time.Since(began) < at+every { // the plant keeps to its own time
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}
}

// trouble is what was asked for on the command line.
func (s *stage) trouble(ctx context.Context, began time.Time) error {
	wait := func(until time.Duration) bool { return s.wait(ctx, began.Add(until)) }
	over := make(chan struct{})
	if s.outage > 0 {
		go func() {
			defer close(over)
			if !wait(11 * time.Second) {
				return
			}
			s.screen.say("Kafka is taken away for %v", s.outage)
			s.kafka.gate.set(true)
			for end := 11*time.Second + s.outage; time.Since(began) < end && wait(min(time.Since(began)+3*time.Second, end)); {
				if n, err := s.child.waiting(); err == nil {
					s.screen.say("%d events wait in the buffer", n)
				}
			}
			s.kafka.gate.set(false)
			s.screen.say("Kafka is back")
		}()
	} else {
		close(over)
	}
	if s.kill && wait(16*time.Second) {
		s.screen.say("the agent is killed and started again")
		if err := s.child.kill(); err != nil {
			return err
		}
		if err := s.child.start(); err != nil {
			return err
		}
	}
	<-over
	return nil
}

// settle waits until nothing waits in the agent any more. After an outage the
// agent may take up to a minute to try again. Who interrupts does not want to
// wait for that.
func (s *stage) settle(ctx context.Context) {
	patience := 75 * time.Second
	if ctx.Err() != nil {
		patience = 3 * time.Second
	}
	s.screen.say("waiting until everything is delivered")
	time.Sleep(quiet / 4)
	for end := time.Now().Add(patience); time.Now().Before(end) && !s.child.gone(); time.Sleep(100 * time.Millisecond) {
		if n, err := s.child.waiting(); err == nil && n == 0 {
			for had := -1; had < s.seen.count() && time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
				had = s.seen.count() // and until the consumer has it
			}
			return
		}
	}
}

// verdict matches the plant's faults with the alarms that the consumer got.
func (s *stage) verdict(labels []simulate.Label, began time.Time, ran time.Duration) bool {
	raised, delivered := 0, 0
	used := map[string]bool{}
	for _, l := range labels {
		end := l.End
		if end > ran-quiet/2 || l.Start > ran-quiet/2 {
			continue // cut off by the end of the demonstration
		}
		raised++
		if id := s.match(l, began); id != "" {
			delivered++
			used[id] = true
		} else {
			s.screen.say("not found: %s of %s", l.Kind, l.Channel)
		}
	}
	alarms, others := 0, 0
	for _, e := range s.seen.all() {
		if e.State != "raised" {
			continue
		}
		alarms++
		if !used[e.AlarmID] && !explained(e, labels, began) {
			others++
			s.screen.say("an alarm without a fault: %s", e.Message)
		}
	}
	missing, duplicated := s.seen.missing(), s.seen.duplicates()
	s.screen.say("the consumer has %d events, %d missing in their sequence; %d alarms raised, %d of them without a fault", len(s.seen.all()), missing, alarms, others)
	if s.noFault && alarms == 0 {
		s.screen.say("nothing was raised, as it should be")
	}
	fmt.Printf("events raised %d, delivered %d, lost %d, duplicated %d\n", raised, delivered, raised-delivered+missing, duplicated)
	if s.noFault {
		return alarms == 0
	}
	return raised > 0 && delivered == raised && missing == 0 && duplicated == 0
}

// match finds the alarm of a fault: the first raised on its channel in its time.
func (s *stage) match(l simulate.Label, began time.Time) string {
	for _, e := range s.seen.all() {
		if e.State == "raised" && e.Channel == l.Channel && within(e, l, began) {
			return e.AlarmID
		}
	}
	return ""
}

// explained reports whether an alarm belongs to a fault that also shows
// elsewhere, or shows again while it lasts.
func explained(e event, labels []simulate.Label, began time.Time) bool {
	for _, l := range labels {
		if e.Machine == l.Machine && within(e, l, began) {
			return true
		}
	}
	return false
}

func within(e event, l simulate.Label, began time.Time) bool {
	at := e.Since.Sub(began)
	return at >= l.Start-every && at <= l.End+slack
}
