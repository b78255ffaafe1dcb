package street

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// act is something done to the agent at a time within a round.
type act struct {
	at   time.Duration
	name string
	do   func() error
}

// round is half a minute of everything that can happen, in tracks beside one
// another; what a track does, it does in order.
func (s *soak) round() {
	s.rounds++
	lost := s.random.Perm(len(s.lonely))[:2]
	tracks := [][]act{
		s.reloads(),
		{{seconds(1), "lose two sensors", func() error {
			s.lonely[lost[0]].losses <- false
			s.lonely[lost[1]].losses <- true
			return nil
		}}},
		{{seconds(3), "crash Kafka", s.crash}},
		{{seconds(13), "publish garbage", func() error { return rave(s.mqtt, s.name, raves) }}, {seconds(16), "restart Mosquitto", s.restart}},
	}
	start := time.Now()
	var done sync.WaitGroup
	for _, track := range tracks {
		for i := range track {
			track[i].at += time.Duration(s.random.Int64N(int64(time.Second / 2)))
		}
		done.Go(func() {
			for _, a := range track {
				time.Sleep(time.Until(start.Add(a.at)))
				if err := a.do(); err != nil {
					s.t.Errorf("round %d, %s: %v", s.rounds, a.name, err)
				}
			}
		})
	}
	done.Wait()
}

// restart restarts the broker. Where that takes long, a sensor may rightly be
// called silent.
func (s *soak) restart() error {
	var may []*anomaly
	for _, x := range s.lonely {
		a := x.expect("low", time.Now(), time.Minute)
		may = append(may, a)
		s.plant.change(func() { a.taken = time.Time{} })
	}
	err := s.bounce()
	s.plant.change(func() {
		for _, a := range may {
			a.to = time.Now().Add(silentAfter + 3*time.Second) // before the next round's losses are told
		}
	})
	return err
}

// change is one rewriting of the agent's file.
type change struct {
	name   string
	hangUp bool // SIGHUP, where the agent is not to find out by itself
	broken bool // the file is one that cannot be
	edit   func()
}

// changes are those of one round. The last takes back what the others left, so
// that the calm after every round is the same.
func (s *soak) changes() []change {
	return []change{
		{name: "lower a limit", edit: func() {
			s.site.probe = high
			s.probe.expect("high", time.Now(), applied)
		}},
		{name: "add a row", hangUp: true, edit: func() {
			s.site.extra = true
			s.extra.value.Store(outside)
			s.extra.expect("high", time.Now(), applied)
		}},
		{name: "touch the file", edit: func() {}},
		{name: "add a source", hangUp: true, edit: func() {
			s.site.guest = true
			s.guest.expect("high", time.Now(), applied)
		}},
		{name: "break the file", broken: true, edit: func() { s.extra.value.Store(normal) }},
		{name: "commit more often", hangUp: true, edit: func() { s.site.commit = "500ms" }},
		{name: "break the file again", hangUp: true, broken: true, edit: func() {}},
		{name: "remove a row", edit: func() { s.site.extra = false }},
		{name: "take all back", hangUp: true, edit: func() { s.site = calmSite }},
	}
}

func (s *soak) reloads() (track []act) {
	for i, c := range s.changes() {
		inPlace := s.random.IntN(2) == 0
		track = append(track, act{seconds(1 + i), c.name, func() error {
			c.edit()
			text := s.agent.here(s.text(s.site))
			running := hashOf(text)
			if c.broken { // were any of it applied, the probe would tell
				wrong := s.site
				wrong.probe = high + highHigh - s.site.probe
				text = s.agent.here(s.text(wrong)) + "[kafka.tls]\nca = 7\n"
			}
			if err := s.agent.configure(text, inPlace, c.hangUp); err != nil {
				return err
			}
			if c.name == "touch the file" {
				time.Sleep(looks) // there is nothing to see
			}
			return s.agent.runs(running, c.broken)
		}})
	}
	return track
}

const (
	// looks is how long the agent takes to find a changed file that it watches: it
	// looks every two seconds, and wants to see the same twice.
	looks = 4 * time.Second
	// applied is how long after a change the first reading is judged by it, on a
	// machine that has other things to do.
	applied = 2 * looks
)

func hashOf(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// configure writes the agent's file, as an editor does or as a tool that renames
// a new one over it.
func (a *agent) configure(text string, inPlace, hangUp bool) error {
	path := filepath.Join(a.dir, "site.toml")
	to := path
	if !inPlace {
		to += ".new"
	}
	if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
		return err
	}
	if !inPlace {
		if err := os.Rename(to, path); err != nil {
			return err
		}
	}
	if hangUp {
		return a.cmd.Process.Signal(syscall.SIGHUP)
	}
	return nil
}

// runs waits until the agent says that it runs by the file of a hash, and
// whether it has refused a newer one.
func (a *agent) runs(hash string, refused bool) error {
	deadline := time.Now().Add(4 * applied) // a Kafka that starts beside it may starve the machine for seconds
	for {
		acc, err := a.account()
		if err == nil && acc.Configuration.Hash == hash && (acc.Configuration.Refused != "") == refused {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, fmt.Errorf("the agent runs by %+v, where the file has %.12s and refused is %v", acc.Configuration, hash, refused))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// calm waits until the agent has caught up, and notes what it uses then: of each
// figure the median over some seconds.
func (s *soak) calm() {
	s.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		acc, err := s.agent.account()
		if err == nil && acc.Buffer.Waiting < 200 && acc.allRun() {
			break
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the agent has not caught up within a minute: %+v, %v", acc, err)
		}
	}
	time.Sleep(time.Second)
	var seen []figures
	for range 8 {
		time.Sleep(400 * time.Millisecond)
		f, err := s.agent.measure()
		if err != nil {
			s.t.Fatal(err)
		}
		seen = append(seen, f)
	}
	m := middle(seen)
	m.at = time.Since(s.agent.lives[0].start)
	s.moments = append(s.moments, m)
	s.t.Log(m)
}
