package cli

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"tocsin/agent/config"
)

// describe says in words what will be read, judged, kept and sent: one line for
// whatever is alike, however large the site.
func (s *site) describe(p *printer) {
	cfg := s.cfg
	p.line("%s is right.", cfg.Path)
	p.line("device    %s, events come from %s", cfg.Site.Device, sourcePath(cfg))
	p.line("")
	t := p.table("read", "from", "channels", "readings/s", "as known by")
	for _, f := range s.feeds {
		t.row(f.name, f.from, f.count(), f.speed(), f.basis)
	}
	t.end()
	p.line("")
	for _, g := range s.judged {
		p.line("judge     %s", plural(len(g.channels), "channel")+": "+few(g.channels))
		p.line("          by %s", orNothing(g.detectors))
	}
	p.line("learn     %s of a channel before its learned detectors may alarm; false alarms of a channel: at most %s", plural(cfg.Detect.Learn, "reading"), cfg.Detect.FalseAlarms)
	p.line("keep      up to %s of events in %s, written every %s, critical ones at once", cfg.Spool.MaxSize, cfg.Spool.Dir, cfg.Spool.Commit)
	p.line("send      to %s, %s", strings.Join(cfg.Kafka.Brokers, ", "), security(cfg))
	p.line("          events to %s, status to %s each minute", cfg.Kafka.Events, cfg.Kafka.Status)
	for _, w := range s.wanted() {
		p.line("          %s of %s to %s, one row each every %s", w.what, w, w.topic, config.Duration(w.every))
	}
}

// count is how many channels a source has: those known, and what it will find.
func (f *feed) count() string {
	switch {
	case len(f.found) == 0:
		return strconv.Itoa(len(f.channels))
	case len(f.channels) == 0:
		return "as found"
	}
	return strconv.Itoa(len(f.channels)) + " and as found"
}

// speed is the rate as far as it is known.
func (f *feed) speed() string {
	switch {
	case f.endless:
		return "all"
	case f.unknown > 0 && f.rate > 0:
		return number(f.rate) + " + ?"
	case f.unknown > 0:
		return "?"
	}
	return number(f.rate)
}

// few names the first of many.
func few(names []string) string {
	const most = 6
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}

func orNothing(detectors string) string {
	if detectors == "" {
		return "nothing: no detector has anything to do"
	}
	return detectors
}

// security is how the way to Kafka is protected.
func security(cfg *config.Config) string {
	words := "not encrypted"
	if t := cfg.Kafka.TLS; t != nil {
		words = "TLS"
		if t.Cert != "" {
			words = "mutual TLS"
		}
	}
	if s := cfg.Kafka.SASL; s != nil {
		words += ", " + s.Mechanism + " as " + s.Username
	}
	return words
}

// plural is "1 channel", "2 channels".
func plural(n int, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return strconv.Itoa(n) + " " + of + "s"
}

// number writes three digits, which is more than any estimate here is worth.
func number(v float64) string {
	if v >= 1000 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	if v == 0 {
		return "0"
	}
	decimals := max(0, 2-int(math.Floor(math.Log10(v))))
	text := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// volume writes bytes in decimal units, with two digits.
func volume(bytes float64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	for i, u := range units {
		if bytes < 995 || i == len(units)-1 {
			if bytes < 9.95 && i > 0 {
				return fmt.Sprintf("%.1f %s", bytes, u)
			}
			if bytes >= 100 {
				bytes = 10 * math.Round(bytes/10)
			}
			return fmt.Sprintf("%.0f %s", bytes, u)
		}
		bytes /= 1000
	}
	return ""
}

// short rounds a duration to three digits.
func short(d time.Duration) string {
	for unit := time.Nanosecond; ; unit *= 10 {
		if d < 1000*unit {
			return d.Round(unit).String()
		}
	}
}
