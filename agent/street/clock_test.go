package street

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A gateway without a battery starts in 1970, raises alarms, and is told the time
// an alarm later. What Kafka took before that says that its clock was not set;
// what waited is corrected when it is sent; an alarm that went on all along has
// one beginning.
func TestClockIsSetWhileTheAgentRuns(t *testing.T) {
	s := openServers(t)
	name := fmt.Sprintf("clock-%x", rand.Uint64())
	set := filepath.Join(t.TempDir(), "set") // the clock is, once this file is there
	// What only root can do to a machine's clock is done to the agent's.
	binary := mutant(t, "agent/clock/clock.go", "o.Wall = time.Now",
		fmt.Sprintf(`o.Wall = func() time.Time {
			if unix.Access(%q, unix.F_OK) != nil {
				return time.Unix(0, int64(Uptime()))
			}
			return time.Now()
		}`, set))
	tp := newTopic(t, s.direct, name)
	a := newAgent(t, binary, fmt.Sprintf(`
[site]
device = "gw-clock"
[kafka]
brokers = [%q]
events = %q
status = "%[2]s-status"
[spool]
dir = "@DIR@"
commit = "50ms"
[agent]
socket = "@DIR@/socket"
[mqtt.hall]
broker = %q
topics = [{topic = "%[2]s/+", channel = "m.{1}", unit = "mm/s"}]
[machine.m]
detectors = ["limit"]
[limit."m.early"]
high = 10
[limit."m.late"]
high = 10
`, s.kafka, name, s.mqtt))
	a.start(t)
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker(s.mqtt).SetClientID(name))
	if token := client.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer client.Disconnect(250)

	// say publishes a reading until the condition holds, and says when it did so first.
	say := func(channel string, v float64, until func() bool) (first time.Time) {
		t.Helper()
		first = time.Now()
		for deadline := first.Add(30 * time.Second); !until(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s = %g: nothing came of it in 30 s; events: %+v", channel, v, tp.all())
			}
			client.Publish(name+"/"+channel, 1, false, fmt.Sprint(v)).Wait()
		}
		return first
	}
	waiting := func(n int) func() bool {
		return func() bool {
			acc, err := a.account()
			return err == nil && acc.Buffer.Waiting == n
		}
	}
	events := func(n int) func() bool { return func() bool { return len(tp.all()) >= n } }

	say("early", 15, events(1))
	say("early", 15, waiting(0)) // the agent knows that Kafka has it
	s.valve.set(shut)
	early := say("early", 5, waiting(1)) // cleared
	late := say("late", 15, waiting(2))
	if err := os.WriteFile(set, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.valve.set(open)
	say("late", 15, events(3))
	cleared := say("late", 5, events(4))
	a.stop()
	if len(a.deaths) > 0 {
		t.Error(a.deaths)
	}

	all := tp.all()
	told := map[string]event{}
	for _, e := range all {
		told[e.body.Channel+" "+e.body.State] = e
	}
	if len(all) != 4 || len(told) != 4 || len(tp.bad) > 0 {
		t.Fatalf("%d events, want 4: %+v %v", len(all), all, tp.bad)
	}
	for what, want := range map[string]struct {
		clocks string
		at     time.Time // zero: counted from 1970
	}{
		"m.early raised":  {"unset", time.Time{}},
		"m.early cleared": {"restamped", early},
		"m.late raised":   {"restamped", late},
		"m.late cleared":  {"unsynced or synced", cleared},
	} {
		e := told[what]
		off := e.time.Sub(want.at)
		switch {
		case want.at.IsZero() && e.time.Year() > 2000, !want.at.IsZero() && off.Abs() > 3*time.Second:
			t.Errorf("%s: ce_time %v, want %v", what, e.time, want.at)
		case e.body.Clock != want.clocks && !(want.clocks == "unsynced or synced" && (e.body.Clock == "unsynced" || e.body.Clock == "synced")):
			t.Errorf("%s: clock %q, want %s", what, e.body.Clock, want.clocks)
		case !e.time.Equal(e.body.Time):
			t.Errorf("%s: ce_time %v, time %v", what, e.time, e.body.Time)
		}
	}
	if raised, over := told["m.late raised"].body, told["m.late cleared"].body; !raised.Since.Equal(raised.Time) || over.Since.Sub(raised.Since).Abs() > 300*time.Millisecond {
		t.Errorf("the alarm began at %v, and in the end at %v", raised.Since, over.Since)
	}
}
