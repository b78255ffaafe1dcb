package street

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// account is the agent's ledger as it tells it.
type account struct {
	Pending       int                `json:"events_not_yet_on_disk"`
	Sources       map[string]reading `json:"sources"`
	Configuration struct {
		Hash    string `json:"hash"`
		Refused string `json:"refused"`
	} `json:"configuration"`
	Buffer struct {
		Appended     int                       `json:"appended"`
		Waiting      int                       `json:"waiting"`
		Acknowledged int                       `json:"acknowledged"`
		Dropped      map[string]map[string]int `json:"dropped"`
		Dead         int                       `json:"dead"`
		Repeated     int                       `json:"possibly_repeated"`
	} `json:"buffer"`
}

// reading is a source's part of it.
type reading struct {
	State   string         `json:"state"`
	Read    int            `json:"read"`
	Judged  int            `json:"judged"`
	Refused map[string]int `json:"refused"`
}

func (r reading) refused() (n int) {
	for _, count := range r.Refused {
		n += count
	}
	return n
}

func (a *agent) account() (acc account, err error) {
	answer, err := a.ask("/status")
	if err != nil {
		return acc, err
	}
	defer answer.Close()
	return acc, json.NewDecoder(answer).Decode(&acc)
}

// allRun reports whether no source waits for anything.
func (acc account) allRun() bool {
	for _, r := range acc.Sources {
		if r.State != "running" {
			return false
		}
	}
	return true
}

// unbalanced tells of everything that is not where the ledger says it is. The
// street must be drained.
func (acc account) unbalanced() (wrong []string) {
	for name, r := range acc.Sources {
		if r.Read != r.Judged+r.refused() {
			wrong = append(wrong, fmt.Sprintf("source %s: read %d, judged %d, refused %v", name, r.Read, r.Judged, r.Refused))
		}
	}
	b, dropped := acc.Buffer, 0
	for _, of := range acc.Buffer.Dropped {
		for _, n := range of {
			dropped += n
		}
	}
	if b.Appended != b.Acknowledged+b.Waiting+dropped+b.Dead {
		wrong = append(wrong, fmt.Sprintf("buffer: appended %d, acknowledged %d, waiting %d, dropped %d, dead %d",
			b.Appended, b.Acknowledged, b.Waiting, dropped, b.Dead))
	}
	if acc.Pending+b.Waiting+dropped+b.Dead > 0 {
		wrong = append(wrong, fmt.Sprintf("pending %d, waiting %d, dropped %d, dead %d events where nothing may be left or lost", acc.Pending, b.Waiting, dropped, b.Dead))
	}
	slices.Sort(wrong)
	return wrong
}

// TestUnbalanced shows that whatever is missing from a ledger is seen.
func TestUnbalanced(t *testing.T) {
	const sound = `{"events_not_yet_on_disk": 0, "sources": {"csv.line": {"read": 9, "judged": 6, "refused": {"malformed": 2, "bad_time": 1}}},
		"buffer": {"appended": 7, "waiting": 0, "acknowledged": 7, "dead": 0}}`
	for _, c := range []struct{ from, to string }{
		{`"read": 9`, `"read": 9`},
		{`"read": 9`, `"read": 10`},
		{`"judged": 6`, `"judged": 7`},
		{`"bad_time": 1`, `"bad_time": 0`},
		{`"appended": 7`, `"appended": 8`},
		{`"waiting": 0`, `"waiting": 1`},
		{`"acknowledged": 7`, `"acknowledged": 6`},
		{`"events_not_yet_on_disk": 0`, `"events_not_yet_on_disk": 1`},
		{`"acknowledged": 7, "dead": 0`, `"acknowledged": 6, "dead": 1`},
		{`"acknowledged": 7`, `"acknowledged": 6, "dropped": {"full": {"low": 1}}`},
	} {
		var acc account
		if err := json.Unmarshal([]byte(strings.Replace(sound, c.from, c.to, 1)), &acc); err != nil {
			t.Fatal(err)
		}
		if wrong := acc.unbalanced(); (len(wrong) == 0) != (c.from == c.to) {
			t.Errorf("%s: %v", c.to, wrong)
		}
	}
}
