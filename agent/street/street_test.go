package street

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	loadFor     = flag.Duration("load-for", 0, "how long TestEveryAnomalyOnce loads the agent; 0: 15s on real servers, 3s on embedded ones")
	kills       = flag.Int("kills", 2, "how often TestKill kills the agent")
	brokerKills = flag.Int("broker-kills", 1, "how often TestKill kills the Kafka broker in between")
)

// scene is everything around one agent.
type scene struct {
	*servers
	t     *testing.T
	name  string
	plant *plant
	topic *topic
	agent *agent
	safe  time.Duration
	end   func() error // stops the plant

	commit   string        // how often the agent writes its events
	rows     string        // more rows for the plant's broker
	patience time.Duration // with what must still come when the plant has stopped
}

// setScene starts the servers, and the agent with a configuration whose limits
// the plant will break; it returns once an event has gone all the way. store is
// the folder for the buffer, empty for one of the agent's own.
func setScene(t *testing.T, binary, store string) *scene {
	t.Helper()
	s := newScene(t)
	s.open(binary, s.config(s.commit, store))
	return s
}

// newScene starts the servers.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{servers: openServers(t), t: t, name: fmt.Sprintf("street-%x", rand.Uint64()), patience: 30 * time.Second}
	// On embedded servers all goes faster, so that go test stays short.
	s.commit, s.safe = "50ms", 1500*time.Millisecond
	if s.real {
		s.commit, s.safe = "1s", 2*time.Second
	}
	s.plant = &plant{broker: s.mqtt, root: s.name, machines: 5, channels: 20, every: 10 * time.Millisecond}
	if raced {
		s.plant.every = 100 * time.Millisecond // the detector costs ten times as much
	}
	return s
}

// open starts the agent and returns once an event has gone all the way.
func (s *scene) open(binary, config string) {
	s.t.Helper()
	s.topic = newTopic(s.t, s.direct, s.name)
	s.agent = newAgent(s.t, binary, config)
	s.agent.run(s.t, "check")
	s.agent.start(s.t)
	awaken(s.t, s.mqtt, s.name, s.topic.woken)
}

// config is a site's file with one row for each channel of any machine.
func (s *scene) config(commit, store string) string {
	if store == "" {
		store = "@DIR@"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[site]\ndevice = \"gw-street\"\nenterprise = \"acme\"\nsite = \"plant3\"\n")
	fmt.Fprintf(&b, "[kafka]\nbrokers = [%q]\nevents = %q\nstatus = \"%s-status\"\n", s.kafka, s.name, s.name)
	fmt.Fprintf(&b, "[spool]\ndir = %q\ncommit = %q\n[agent]\nsocket = \"@DIR@/socket\"\n", store, commit)
	// A clear that a kill took is made up for late; it must not hold back the next raise.
	b.WriteString("[alarms]\nrealarm = \"0s\"\n")
	fmt.Fprintf(&b, "[mqtt.hall]\nbroker = %q\ntopics = [\n", s.mqtt)
	for c := range s.plant.channels {
		q := quantityName(c)
		fmt.Fprintf(&b, "  {topic = \"%s/+\", pointer = \"/%s\", channel = \"{1}.%s\", unit = \"mm/s\", time = \"/t\", time_format = \"unix_ms\"},\n", s.name, q, q)
	}
	b.WriteString(s.rows + "]\n")
	limit := func(machine, quantity string) {
		fmt.Fprintf(&b, "[limit.\"%s.%s\"]\nhigh = %g\nhigh_high = %g\nhysteresis = %g\n", machine, quantity, high, highHigh, hysteresis)
	}
	for m := range s.plant.machines {
		fmt.Fprintf(&b, "[machine.%s]\ndetectors = [\"limit\"]\n", machineName(m))
		for c := range s.plant.channels {
			limit(machineName(m), quantityName(c))
		}
	}
	b.WriteString("[machine.canary]\ndetectors = [\"limit\"]\n")
	limit("canary", quantityName(0))
	return b.String()
}

// load lets the plant run until s.end is called.
func (s *scene) load() {
	ctx, cancel := context.WithCancel(context.Background())
	var stopped sync.WaitGroup
	var err error
	stopped.Go(func() { err = s.plant.run(ctx) })
	s.end = func() error {
		cancel()
		stopped.Wait()
		return err
	}
	s.t.Cleanup(func() { _ = s.end() })
}

func (s *scene) audit() report {
	return ledger{s.agent.lives, s.safe}.audit(s.plant.labels(), s.topic.all())
}

// settle stops the plant, waits for what must still come, stops the agent and
// gives the final report.
func (s *scene) settle() report {
	s.t.Helper()
	s.await()
	return s.close()
}

// await stops the plant and waits for what must still come.
func (s *scene) await() {
	s.t.Helper()
	if err := s.end(); err != nil {
		s.t.Fatal(err)
	}
	s.agent.lives[len(s.agent.lives)-1].end = time.Now()
	for deadline := time.Now().Add(s.patience); len(s.audit().missing) > 0 && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
	}
}

// close stops the agent and gives the final report.
func (s *scene) close() report {
	s.agent.stop()
	s.topic.quiet(time.Second)
	r := s.audit()
	r.wrong = append(r.wrong, s.agent.deaths...)
	return r
}

// judge fails the test for what the report found and prints what was measured.
func (s *scene) judge(r report) {
	s.t.Helper()
	for _, problem := range slices.Concat(first(20, r.wrong), first(20, r.missing), first(20, badRecords(s.topic))) {
		s.t.Error(problem)
	}
	s.t.Logf("%v; wrong %d, missing %d; readings %d, the plant at most %v late; from reading to Kafka %s",
		r, len(r.wrong), len(r.missing), s.plant.readings, s.plant.late.Round(time.Millisecond), latency(r))
}

func badRecords(tp *topic) (list []string) {
	tp.mu.Lock()
	defer tp.mu.Unlock()
	for _, err := range tp.bad {
		list = append(list, err.Error())
	}
	return list
}

func first(n int, list []string) []string { return list[:min(n, len(list))] }

// latency says how long events were under way, from the reading to the broker's
// append.
func latency(r report) string {
	var all []time.Duration
	for _, e := range r.entries {
		if len(e.raised) == 1 {
			all = append(all, e.raised[0].stored.Sub(e.raised[0].time))
		}
	}
	if len(all) == 0 {
		return "never"
	}
	slices.Sort(all)
	return fmt.Sprintf("p50 %v p95 %v max %v", all[len(all)/2], all[len(all)*95/100], all[len(all)-1])
}

// TestEveryAnomalyOnce loads the agent with 100 channels of 100 readings a
// second: each labelled anomaly is raised exactly once and cleared exactly once.
func TestEveryAnomalyOnce(t *testing.T) {
	s := setScene(t, shipped(t), "")
	lasts := *loadFor
	if lasts == 0 {
		lasts = 3 * time.Second
		if s.real {
			lasts = 15 * time.Second
		}
	}
	s.load()
	time.Sleep(lasts)
	r := s.settle()
	s.judge(r)
	if least := int(lasts.Seconds()) * s.plant.machines * s.plant.channels / 8; r.must < least {
		t.Errorf("only %d anomalies had to come: the plant or the agent stood still", r.must)
	}
}

// TestKill kills the agent, and the broker in between, under load: what was
// injected the safe time before a kill comes exactly once, what came later at
// most once, and no ce_id twice.
func TestKill(t *testing.T) {
	s := setScene(t, shipped(t), "")
	r := s.killing(rounds(), *brokerKills, nil)
	s.judge(r)
	s.enough(r)
}

// TestKillByPowerCut does the same where the power goes with the agent: what it
// had not synced is torn.
func TestKillByPowerCut(t *testing.T) {
	d := newDisk(t)
	s := setScene(t, shipped(t), d.dir)
	r := s.killing(rounds(), 0, d)
	s.judge(r)
	s.enough(r)
	t.Logf("the power cuts took %d sectors", d.lost)
}

// rounds is how often to kill.
func rounds() int {
	if testing.Short() {
		return 1
	}
	return *kills
}

// killing kills the agent the given number of times at random moments, and with
// it the power of its disk if that is given; before every other kill Kafka's
// answers are kept back, so that a batch is under way whose fate the agent does
// not know.
func (s *scene) killing(agents, brokers int, d *disk) report {
	s.t.Helper()
	s.load()
	var crash sync.WaitGroup
	for i := range agents {
		if i*brokers/agents != (i+1)*brokers/agents {
			crash.Wait()
			crash.Go(func() {
				if err := s.crash(); err != nil {
					s.t.Error(err)
				}
			})
		}
		time.Sleep(s.safe*3/2 + time.Duration(rand.Int64N(int64(s.safe)))) // some anomalies must lie the safe time before the kill
		if i%2 == 0 {
			s.valve.set(muted)
			time.Sleep(time.Duration(rand.Int64N(int64(s.safe / 2))))
		}
		s.agent.look()
		if d != nil {
			d.cut()
		}
		s.agent.kill()
		if d != nil {
			d.restore()
		}
		s.valve.set(open)
		s.agent.start(s.t)
	}
	crash.Wait()
	time.Sleep(2 * s.safe)
	return s.settle()
}

// enough fails the test when it could not have shown anything: in too few of
// the killed lives there was an anomaly that had to come.
func (s *scene) enough(r report) {
	s.t.Helper()
	lives, useful := s.agent.lives[:len(s.agent.lives)-1], 0
	for _, l := range lives {
		if slices.ContainsFunc(r.entries, func(e entry) bool { return e.must && e.sent.After(l.start) && e.taken.Before(l.end) }) {
			useful++
		}
	}
	if useful*2 < len(lives) {
		s.t.Errorf("in only %d of %d lives was there an anomaly that had to come: the test shows too little", useful, len(lives))
	}
}
