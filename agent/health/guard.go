package health

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"tocsin/uplink"
)

// guard notices another living agent with this device's name. Each agent leaves
// a note under the name every minute and reads the one before: the note of an
// agent that is dead stays as it is, one that changes is a living agent's. So
// both notice.
type guard struct {
	me        note
	heard     bool   // a note before was read once
	last      string // that was then there: of whoever ran before this one
	clean     int    // times in a row that only this one's was there
	rival     *Rival
	unguarded string
}

// note is what is left, as JSON.
type note struct {
	Instance string `json:"instance"`
	Host     string `json:"host"`
	Boot     string `json:"boot"`
	N        uint64 `json:"n"` // so that the notes of the living differ
}

func newNote(instance, boot string) note {
	host, _ := os.Hostname() // empty where the kernel does not tell
	return note{Instance: instance, Host: host, Boot: boot}
}

// next is the note to leave now.
func (g *guard) next() string {
	g.me.N++
	text, _ := json.Marshal(g.me) // strings and a number always marshal
	return string(text)
}

// cleanFor is how many clean looks in a row make another agent gone.
const cleanFor = 3

// hear takes the note that was there before this one's, or why it could not be
// read.
func (g *guard) hear(former string, err error, log *slog.Logger) {
	if err != nil {
		var out uplink.Outcome
		if errors.As(err, &out) && out.Result == uplink.Hold {
			g.unguarded = err.Error()
		}
		return // otherwise it passes
	}
	g.unguarded = ""
	var n note
	known := json.Unmarshal([]byte(former), &n) == nil && n.Instance != ""
	first := !g.heard
	g.heard = true
	switch {
	case known && n.Instance == g.me.Instance:
		if g.clean++; g.clean >= cleanFor && g.rival != nil {
			log.Info("the other agent with this device's name is gone", "host", g.rival.Host)
			g.rival = nil
		}
	case first:
		g.last = former
	case !known || former == g.last: // not a note, or one that came back with an older state of Kafka
	default:
		g.clean = 0
		if g.rival == nil || g.rival.Instance != n.Instance {
			log.Error("another agent sends with this device's name", "host", n.Host, "instance", n.Instance, "cure", "give one of them another [site] device")
			g.rival = &Rival{Host: strings.ToValidUTF8(n.Host, "?"), Instance: n.Instance, Since: time.Now()}
		}
	}
}
