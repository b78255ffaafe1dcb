package config

import (
	"regexp"
	"slices"
	"strings"
)

// feed is one channel that a source fills, or many whose names are known only
// at run time.
type feed struct {
	name   string // of one channel; of many: how the file writes them
	at     span
	every  Duration // between two readings, where the file tells; else 0
	replay bool     // read from a file once, as it was recorded

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

// matches reports whether a channel whose name the file tells is wanted.
func (f *feeds) matches(wanted func(string) bool) bool { return slices.ContainsFunc(f.names, wanted) }

// mayMatch reports whether a pattern may match a channel whose name is known only
// at run time.
func (f *feeds) mayMatch(pattern string) bool {
	return slices.ContainsFunc(f.many, func(m feed) bool { return overlap(pattern, starred(m.name)) })
}

// patterns stand for the channels whose names are known only at run time.
func (f *feeds) patterns() (all []string) {
	for _, m := range f.many {
		all = append(all, starred(m.name))
	}
	return all
}

// families are the patterns that stand for one machine's channels each.
func (f *feeds) families() (all []string) {
	for machine := range f.machines {
		all = append(all, machine+".*")
	}
	slices.Sort(all)
	return all
}

// of is the feed of a channel.
func (f *feeds) of(name string) (one feed, ok bool) {
	if one, ok = f.one[name]; ok {
		return one, true
	}
	i := slices.IndexFunc(f.many, func(m feed) bool { return m.channel(name) })
	if i < 0 {
		return feed{}, false
	}
	return f.many[i], true
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
