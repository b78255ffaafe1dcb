package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// screen writes lines with the seconds since the start before them.
type screen struct {
	mu      sync.Mutex
	started time.Time
	colour  bool
}

// The colours of severities and of what the demonstration itself says (ECMA-48
// SGR).
var colours = map[string]string{"low": "36", "medium": "33", "high": "31", "critical": "1;31", "cleared": "32", "demo": "2"}

func (s *screen) line(colour, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := fmt.Sprintf("%6.1f s  ", time.Since(s.started).Seconds())
	if s.colour {
		text = "\x1b[" + colours[colour] + "m" + text + "\x1b[0m"
	}
	fmt.Println(at + text)
}

// say is the demonstration's own voice.
func (s *screen) say(format string, args ...any) { s.line("demo", "· "+fmt.Sprintf(format, args...)) }

// event shows an event as a consumer of the topic gets it.
func (s *screen) event(e event) {
	colour := e.Severity
	if e.State == "cleared" {
		colour = "cleared"
	}
	text := fmt.Sprintf("%-7s %-8s %s [%s]", e.State, e.Severity, e.Message, strings.TrimSpace(e.Class+" "+e.Detector))
	if e.Received.Sub(e.Time) > 2*time.Second {
		text += fmt.Sprintf(", happened at %.1f s", e.Time.Sub(s.started).Seconds())
	}
	s.line(colour, text)
}
