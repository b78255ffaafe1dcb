package cli

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"tocsin/agent/health"
)

// On a small terminal the first lines stay, and no line is broken by it.
func TestSmallTerminal(t *testing.T) {
	var page bytes.Buffer
	at := screen{rows: 5, columns: 40}
	p := &printer{to: &page, width: at.width()}
	p.para("health", "failed")
	for range 4 {
		p.para("", "- another agent, on host vm, sends as device gateway-7 too (failed, for 57 s)")
	}
	for line := range strings.Lines(page.String()) {
		if utf8.RuneCountInString(line) > 41 {
			t.Errorf("longer than the terminal: %q", line)
		}
	}
	shown := string(at.frame(page.Bytes()))
	if !strings.HasPrefix(shown, "\x1b[Hhealth     failed\x1b[K\n") || strings.Count(shown, "\n") != 4 || !strings.HasSuffix(shown, "\n…\x1b[K\x1b[J") {
		t.Errorf("%q", shown)
	}
	if got := (screen{}).frame(page.Bytes()); !bytes.Equal(got, page.Bytes()) {
		t.Errorf("what is no terminal got %q", got)
	}
	for columns, want := range map[int]int{0: 80, 20: 30, 40: 40, 100: 100, 300: 120} {
		if got := (screen{24, columns}).width(); got != want {
			t.Errorf("%d columns: %d, want %d", columns, got, want)
		}
	}
}

// The files that are made in the first hour say nothing of a day.
func TestFlashOfTheFirstHour(t *testing.T) {
	u := health.Usage{FlashPerDay: 144 << 20, MeasuredOver: 600}
	if got := usageLine(u); !strings.HasSuffix(got, "; wrote 1 MiB to disk in 10 min") {
		t.Error(got)
	}
	u.MeasuredOver = 3600
	if got := usageLine(u); !strings.HasSuffix(got, "; writes 144 MiB a day to disk") {
		t.Error(got)
	}
}
