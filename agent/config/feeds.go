package config

import (
	"regexp"
	"slices"
	"strings"
)

// feed is one channel that a source fills, or many whose names are known only
// at run time.
type feed struct {
	name string // of one channel; of many: how the file writes them
	at   span

	channel, machine func(name string) bool // of many: whether they may have that name; nil for one
}

type feeds struct {
	one      map[string]feed
	names    []string // of one, in the order of the file
	machines map[string]bool
	many     []feed
}

func (f *feeds) add(one feed) {
	if one.channel != nil {
		f.many = append(f.many, one)
		return
	}
	if f.one == nil {
		f.one, f.machines = map[string]feed{}, map[string]bool{}
	}
	f.one[one.name], f.machines[MachineOf(one.name)] = one, true
	f.names = append(f.names, one.name)
}

// channel reports whether some source may feed the channel.
func (f *feeds) channel(name string) bool {
	_, ok := f.one[name]
	return ok || slices.ContainsFunc(f.many, func(m feed) bool { return m.channel(name) })
}

// machine reports whether some source may feed a channel of the machine.
func (f *feeds) machine(name string) bool {
	return f.machines[name] || slices.ContainsFunc(f.many, func(m feed) bool { return m.machine(name) || m.channel(name+".x") })
}

// template is the feed of a name with places for what wildcards match.
func template(name string, at span) feed {
	return feed{name: name, at: at, channel: pattern(name).MatchString, machine: pattern(MachineOf(name)).MatchString}
}

// places are {1}, {2} … and {name} in a channel's name.
var places = regexp.MustCompile(`\{[^{}]*\}`)

// pattern is the regular expression of a name with places.
func pattern(name string) *regexp.Regexp {
	parts := places.Split(name, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".+") + "$")
}
