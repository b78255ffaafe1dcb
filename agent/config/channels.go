package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// badName says why a name cannot be that of a machine or a channel, or "".
func badName(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > 128:
		return "is longer than 128 bytes"
	case strings.ContainsFunc(name, unicode.IsSpace):
		return "has a space in it"
	case strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) || strings.ContainsRune(`/#+{}"\,`, r) }):
		return "has a character in it that names cannot have"
	case strings.HasPrefix(name, "."), strings.HasSuffix(name, "."), strings.Contains(name, ".."):
		return "has an empty part"
	}
	return ""
}

// withDot proposes a channel's name for one without a dot: of several words the
// last is the quantity.
func withDot(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-'
	})
	switch n := len(words); n {
	case 0:
		return "pump1.vibration"
	case 1:
		return "pump1." + words[0]
	default:
		return strings.Join(words[:n-1], "") + "." + words[n-1]
	}
}

// feed checks a channel's name, with places for what wildcards match, and
// registers it.
func (l *loader) feed(f *feeds, one feed, wildcards int, lines bool) {
	name, at := one.name, one.at
	for _, place := range places.FindAllString(name, -1) {
		inner := place[1 : len(place)-1]
		n, err := strconv.Atoi(inner)
		switch {
		case inner == "name" && !lines:
			l.fail(at, `write format = "lines", or {1} for what the first wildcard matched`, "{name} stands for a line's name, but format is not \"lines\"")
			return
		case inner == "name":
		case err != nil || n < 1:
			l.fail(at, "write {1}, {2} … for what the wildcards matched, or {name} for a line's name", "%s means nothing", place)
			return
		case n > wildcards:
			l.fail(at, "put a + for it into the topic", "%s needs %d wildcards; the topic has %d", place, n, wildcards)
			return
		}
	}
	plain := places.ReplaceAllString(name, "x")
	if !strings.Contains(plain, ".") && !strings.Contains(name, "{") {
		l.fail(at, fmt.Sprintf("write machine.quantity: %q", withDot(name)), "channel %q has no dot", name)
		return
	}
	if problem := badName(plain); problem != "" {
		l.fail(at, "use letters, digits, - and _, with a dot between machine and quantity: \"pump1.bearing_temp\"", "channel %q %s", name, problem)
		return
	}
	if plain != name {
		many := template(name, at)
		many.every = one.every
		f.add(many)
		return
	}
	if other, ok := f.one[name]; ok {
		l.fail(at, "give one of the two another name", "channel %q is fed twice; first in %s", name, l.lineOf(other.at, at))
		return
	}
	f.add(one)
}

// fed checks that a channel that a table names is fed by some source.
func (l *loader) fed(f *feeds, table, name string) {
	if f.channel(name) || len(l.errs) > mostErrors || l.broken.feeds.channel(name) || l.mayBeBroken(name) {
		return
	}
	known := slices.Clone(f.names)
	for _, m := range f.many {
		known = append(known, m.name)
	}
	cure := "name a channel of one of the sources"
	if near := Nearest(name, f.names); near != "" {
		cure = fmt.Sprintf("did you mean %q?", near)
	} else if len(known) <= 16 {
		cure = "known channels: " + strings.Join(known, ", ")
	}
	if len(known) == 0 {
		cure = ""
	}
	l.fail(l.root.child(table, name).key, cure, "no source feeds the channel %q", name)
}

func (l *loader) channels(f *feeds) {
	for _, name := range l.names("channel") {
		c, ok := l.config.Channel[name]
		if !ok {
			continue
		}
		l.fed(f, "channel", name)
		if c.RangeLow != nil && c.RangeHigh != nil && *c.RangeLow >= *c.RangeHigh {
			l.fail(l.at("channel", name, "range_low"), "swap the two", "range_low = %v is not below range_high = %v in %s",
				*c.RangeLow, *c.RangeHigh, l.lineOf(l.at("channel", name, "range_high"), l.at("channel", name, "range_low")))
		}
		for key, after := range map[string]Duration{"silent_after": c.SilentAfter, "stuck_after": c.StuckAfter} {
			if one, ok := f.of(name); ok && after > 0 && after <= one.every {
				l.fail(l.at("channel", name, key), fmt.Sprintf("write more than %s; ten times as much leaves room for a delay", one.every),
					"%s = %s is not longer than the %s between two readings: the sensor would always be at fault", key, after, one.every)
			}
		}
		if c.MaxRate != nil && *c.MaxRate <= 0 {
			l.fail(l.at("channel", name, "max_rate"), "write how fast the value may change, per second; or leave it out to have it learned", "max_rate = %v is too small", *c.MaxRate)
		}
	}
}

func (l *loader) machines(f *feeds) {
	for _, name := range l.names("machine") {
		if f.machine(name) || len(l.errs) > mostErrors || l.broken.feeds.machine(name) || l.mayBeBroken(name) {
			continue
		}
		var known []string
		for _, channel := range f.names {
			if m := MachineOf(channel); !slices.Contains(known, m) {
				known = append(known, m)
			}
		}
		cure := "a machine is the part of a channel's name before the last dot"
		if near := Nearest(name, known); near != "" {
			cure = fmt.Sprintf("did you mean %q?", near)
		} else if len(known) > 0 && len(known) <= 16 {
			cure = "known machines: " + strings.Join(known, ", ")
		}
		l.fail(l.root.child("machine", name).key, cure, "the machine %q has no channels", name)
	}
}

// DetectorsOf is what judges a channel: its own choice, else its machine's, else
// "auto".
func (c *Config) DetectorsOf(channel string) Detectors {
	if d := c.Channel[channel].Detectors; d.Given() {
		return d
	}
	if d := c.Machine[MachineOf(channel)].Detectors; d.Given() {
		return d
	}
	return Detectors{Auto: true}
}
