package street

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// inFlight is how many messages Mosquitto has on the way to a client
// (max_inflight_messages): what may come again when the client connects again.
const inFlight = 20

// raves is how often all the garbage is published in a round.
const raves = 5

// drained waits until the agent has judged and sent all there is, and gives its
// ledger.
func (s *soak) drained() account {
	s.t.Helper()
	var last account
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(300 * time.Millisecond) {
		now, err := s.agent.account()
		if err != nil {
			s.t.Fatal(err)
		}
		still := reflect.DeepEqual(now, last)
		if still && len(now.unbalanced()) == 0 || time.Now().After(deadline) {
			return now
		}
		last = now
	}
}

// count compares what was published with what the agent says it read.
func (s *soak) count(before, after account) (wrong []string) {
	wrong = after.unbalanced()
	var said []string
	wants := func(source string, least, most int) {
		read := after.Sources[source].Read - before.Sources[source].Read
		said = append(said, fmt.Sprintf("%s read %d of %d to %d", source, read, least, most))
		if read < least || read > most {
			wrong = append(wrong, fmt.Sprintf("source %s says it read %d; what was published explains %d to %d", source, read, least, most))
		}
	}
	connects, behind := s.connects()
	again := func(name string, changes int) int {
		if most := 1 + changes + s.rounds + behind; connects[name] > most {
			wrong = append(wrong, fmt.Sprintf("source mqtt.%s connected %d times; %d changes of its rows and %d restarts of the broker explain %d",
				name, connects[name], changes, s.rounds, most))
		}
		return connects[name] * inFlight
	}
	odd := s.rounds * raves * len(garbage)
	hall := s.plant.readings + odd
	twice := (s.plant.resent + again("hall", 2*s.rounds)) * s.plant.channels
	wants("mqtt.hall", hall, hall+twice+int(s.extra.sent.Load()))
	refused := after.Sources["mqtt.hall"].refused() - before.Sources["mqtt.hall"].refused()
	if refused < odd || refused > odd+twice {
		wrong = append(wrong, fmt.Sprintf("source mqtt.hall: %d messages were garbage, %d were refused", odd, refused))
	}
	sent, resent := 0, 0
	for _, x := range append(s.lonely[:], s.probe) {
		sent, resent = sent+int(x.sent.Load()), resent+int(x.resent.Load())
	}
	wants("mqtt.lonely", sent, sent+resent+again("lonely", 0))
	again("loose", 0)
	wants("mqtt.loose", s.loose/2, s.loose) // what is published at QoS 0 while the broker is away is lost
	wants("csv.line", s.written, s.written)
	s.t.Logf("soak: %s", strings.Join(said, "; "))
	return wrong
}

var (
	connected = regexp.MustCompile(`(?m)msg=connected .*mqtt=(\w+)`)
	tooSlow   = regexp.MustCompile(`(?m)the detectors are behind`)
)

// connects is how often each source has connected to the broker, and how often
// one did so because the detectors were behind, from the agent's log.
func (s *soak) connects() (of map[string]int, behind int) {
	log, err := os.ReadFile(s.agent.log.Name())
	if err != nil {
		s.t.Fatal(err)
	}
	of = map[string]int{}
	for _, m := range connected.FindAllSubmatch(log, -1) {
		of[string(m[1])]++
	}
	return of, len(tooSlow.FindAll(log, -1))
}

// recount compares the buffer's ledger, as it stands on disk when the agent has
// stopped, with what is in the topic: as many records, numbered without a gap.
func (s *soak) recount() (wrong []string) {
	var acc account
	if err := json.Unmarshal([]byte(s.agent.run(s.t, "spool", "status", "--json")), &acc); err != nil {
		return []string{fmt.Sprintf("read the ledger on disk: %v", err)}
	}
	wrong = acc.unbalanced()
	s.topic.mu.Lock()
	defer s.topic.mu.Unlock()
	records, highest := len(s.topic.events), 0
	for _, e := range s.topic.events {
		n, err := strconv.Atoi(e.id[strings.LastIndexByte(e.id, '.')+1:])
		if err != nil {
			wrong = append(wrong, "ce_id "+e.id+" has no sequence")
		}
		highest = max(highest, n)
	}
	b := acc.Buffer
	if b.Acknowledged != records || b.Repeated > 0 || highest != records {
		wrong = append(wrong, fmt.Sprintf("the topic has %d records, numbered up to %d; the ledger on disk says that %d were acknowledged and %d possibly repeated",
			records, highest, b.Acknowledged, b.Repeated))
	}
	s.t.Logf("soak: made %d = acknowledged %d, in the topic %d", b.Appended, b.Acknowledged, records)
	return wrong
}
