package street

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

var soakFor = flag.Duration("soak-for", 45*time.Second, "how long TestSoak loads and disturbs the agent; two rounds of about 25 s at least")

// soak is a scene with more of everything: 5,000 messages a second, four
// sources, and whatever can be taken away taken away.
type soak struct {
	*scene
	random *rand.Rand // of the schedule: each run has the same
	site   site       // as the file says it now

	lonely              [4]*sensor // of a source of their own; they get lost
	probe, extra, guest *sensor    // each shows that a part of the file was applied
	written, loose      int        // readings of the file, and at QoS 0
	endRest             func()     // ends what must go on until the ledger is drained

	began, ended time.Time // the load
	moments      []figures // one of each calm
	rounds       int
}

// TestSoak loads the agent with 5,000 messages a second and changes its
// configuration, restarts both brokers and loses sensors all the while. At the
// end every anomaly was raised once, the ledger balances, and memory, goroutines
// and descriptors are what they were.
func TestSoak(t *testing.T) {
	s := newSoak(t)
	s.judge(s.soak(shipped(t), *soakFor))
	s.tell()
}

// soak disturbs an agent for some time, two rounds at least.
func (s *soak) soak(binary string, d time.Duration) report {
	s.t.Helper()
	s.open(binary, s.text(s.site))
	before := s.drained()
	s.load()
	s.calm()
	for s.rounds < 2 || time.Since(s.began) < d {
		s.round()
		s.calm()
	}
	s.await()
	s.endRest()
	wrong := s.count(before, s.drained())
	r := s.close()
	r.wrong = slices.Concat(r.wrong, wrong, s.recount(), leaks(s.moments, bounds(s.memoryAllowed())))
	return r
}

func newSoak(t *testing.T) *soak {
	t.Helper()
	switch {
	case raced || testing.Short():
		t.Skip("takes a minute")
	case os.Getenv("TOCSIN_TEST_MQTT_DIR") == "":
		t.Skip("needs a real broker that can be restarted; .ci/run starts one")
	}
	s := &soak{scene: newScene(t), random: rand.New(rand.NewPCG(5, 4)), site: calmSite}
	s.plant = &plant{broker: s.mqtt, root: s.name, machines: 100, channels: 3, every: 20 * time.Millisecond, rarer: 6}
	for i := range s.lonely {
		s.lonely[i] = newSensor(s.plant, s.name+"-s", fmt.Sprintf("s%d", i+1), normal)
	}
	s.probe = newSensor(s.plant, s.name+"-s", "probe", outside)
	s.extra = newSensor(s.plant, s.name+"-x", "extra", normal)
	s.guest = newSensor(s.plant, s.name+"-g", "guest", outside)
	s.createTopics(s.name+"-status", s.name+"-scores", s.name+"-samples")
	return s
}

// site is what the reloads change.
type site struct {
	probe  float64 // the probe's limit
	extra  bool    // whether there is a row for it
	guest  bool    // whether there is a source for it
	commit string
}

var calmSite = site{probe: highHigh, commit: "1s"}

// text is the whole file.
func (s *soak) text(v site) string {
	s.rows = fmt.Sprintf("  {topic = \"%s-odd/odd\", channel = \"odd.v\", unit = \"mm/s\"},\n", s.name)
	if v.extra {
		s.rows += "  " + s.row("x", "extra.v")
	}
	var b strings.Builder
	b.WriteString(s.config(v.commit, ""))
	source := func(name string, qos int, row string) {
		fmt.Fprintf(&b, "[mqtt.%s]\nbroker = %q\nqos = %d\ntopics = [%s]\n", name, s.mqtt, qos, row)
	}
	source("lonely", 1, s.row("s", "{1}.v"))
	source("loose", 0, fmt.Sprintf("{topic = \"%s-q/+\", channel = \"{1}.v\", unit = \"Cel\"}", s.name))
	if v.guest {
		source("guest", 0, s.row("g", "guest.v"))
	}
	fmt.Fprintf(&b, "[uplink.scores]\ntopic = \"%s-scores\"\n[uplink.samples]\ntopic = \"%s-samples\"\n", s.name, s.name)
	b.WriteString("[csv.line]\npath = \"@DIR@/line.csv\"\nfollow = true\n" +
		"columns = {c00 = \"c00 mm/s\", c01 = \"c01 mm/s\", c02 = \"c02 mm/s\", c03 = \"c03 mm/s\"}\n")
	for _, machine := range []string{"line", "odd", "probe", "extra", "guest"} {
		fmt.Fprintf(&b, "[machine.%s]\ndetectors = [\"limit\"]\n", machine)
	}
	for _, channel := range []string{"line.c00", "odd.v", "extra.v", "guest.v"} {
		fmt.Fprintf(&b, "[limit.%q]\nhigh = %g\n", channel, high)
	}
	fmt.Fprintf(&b, "[limit.\"probe.v\"]\nhigh = %g\n", v.probe)
	for m := range looseMachines { // in an outage at QoS 0 silence is only right
		fmt.Fprintf(&b, "[machine.q%d]\ndetectors = [\"ewma\", \"robust_z\", \"cusum\", \"rate\", \"stuck\"]\n", m+1)
	}
	for _, x := range s.lonely {
		fmt.Fprintf(&b, "[machine.%s]\ndetectors = [\"silence\"]\n[channel.\"%s.v\"]\nsilent_after = %q\n", x.name, x.name, silentAfter)
	}
	return b.String()
}

// createTopics makes what the agent sends beside its events.
func (s *soak) createTopics(names ...string) {
	s.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(s.direct))
	if err != nil {
		s.t.Fatal(err)
	}
	defer client.Close()
	for _, name := range names {
		if err := createTopic(context.Background(), client, name); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *soak) row(group, channel string) string {
	return fmt.Sprintf("{topic = \"%s-%s/+\", pointer = \"/v\", channel = %q, unit = \"mm/s\", time = \"/t\", time_format = \"unix_ms\"},\n", s.name, group, channel)
}

// load starts everything that publishes. The plant, and what is counted with it,
// ends with s.end; the rest with s.endRest, for it must not fall silent before.
func (s *soak) load() {
	s.began = time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	var rest sync.WaitGroup
	keep := func(ctx context.Context, to *sync.WaitGroup, run func(context.Context) error) {
		to.Go(func() {
			if err := run(ctx); err != nil {
				s.t.Error(err)
			}
		})
	}
	for _, x := range append(s.lonely[:], s.probe, s.extra, s.guest) {
		keep(ctx, &rest, x.run)
	}
	keep(ctx, &rest, func(ctx context.Context) (err error) {
		s.loose, err = loose(ctx, s.mqtt, s.name)
		return err
	})
	s.endRest = func() { cancel(); rest.Wait() }
	s.t.Cleanup(s.endRest)

	s.scene.load()
	ctx, cancelFile := context.WithCancel(context.Background())
	var file sync.WaitGroup
	keep(ctx, &file, func(ctx context.Context) (err error) {
		s.written, err = logbook(ctx, s.plant, filepath.Join(s.agent.dir, "line.csv"))
		return err
	})
	s.t.Cleanup(func() { cancelFile(); file.Wait() })
	end := s.end
	s.end = func() error {
		cancelFile()
		file.Wait()
		err := end()
		s.ended = time.Now()
		return err
	}
}

// memoryAllowed is how much memory may grow between two calm moments.
func (s *soak) memoryAllowed() float64 {
	if s.rounds < 10 {
		return 4 // the heap still finds its size
	}
	return 1.5
}

// tell prints what was measured.
func (s *soak) tell() {
	first, last := s.moments[0], s.moments[len(s.moments)-1]
	messages, took := s.plant.readings/s.plant.channels, s.ended.Sub(s.began).Seconds()
	s.t.Logf("soak: %d rounds, each with %d changes of the file, a crash of Kafka, a restart of Mosquitto, two sensors lost, %d messages of garbage; %.0f messages a second for %.0f s, CPU %.1f %% of a core",
		s.rounds, len(s.changes()), raves*len(garbage), float64(messages)/took, took, 100*(last.cpu-first.cpu).Seconds()/(last.at-first.at).Seconds())
	var grew []string
	for _, b := range bounds(0) {
		grew = append(grew, fmt.Sprintf("%s %.1f to %.1f, grew by %.2f", b.name, b.of(first), b.of(last), growth(warm(s.moments), b.of)))
	}
	s.t.Logf("soak: %s", strings.Join(grew, "; "))
}
