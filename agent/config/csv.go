package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tocsin/sensors/simulate"
)

func (l *loader) csv(f *feeds) {
	for _, name := range l.names("csv") {
		c, ok := l.config.CSV[name]
		if !ok {
			continue
		}
		if l.has("csv", name, "path") && c.Path != "" {
			l.readable(c, l.at("csv", name, "path"))
		}
		if err := checkTimeFormat(c.TimeFormat, "auto", "rfc3339", "unix", "unix_ms", "unix_us", "unix_ns"); err != nil {
			l.failErr(l.at("csv", name, "time_format"), err)
		}
		if c.Follow && l.root.child("csv", name, "speed") != nil {
			l.fail(l.at("csv", name, "speed"), "remove speed, or follow", "speed is for replay, but follow is true")
		}
		if c.Machine == "" {
			c.Machine = name
		}
		l.columns(&c, name, f)
		l.config.CSV[name] = c
	}
}

// readable checks that a CSV file is there; one that is followed may come later.
func (l *loader) readable(c CSV, at span) {
	info, err := os.Stat(c.Path)
	switch {
	case err != nil && c.Follow:
	case err != nil:
		l.fail(at, "check the path; it is relative to the folder of "+filepath.Base(l.texts[0].file), "path %s: there is no such file", l.typed(c.Path))
	case info.IsDir():
		l.fail(at, "name a file in it", "path %s: this is a folder", l.typed(c.Path))
	}
}

// columns checks which column feeds which channel and completes the names: one
// without a dot is of the table's machine.
func (l *loader) columns(c *CSV, name string, f *feeds) {
	machineAt := l.at("csv", name, "machine")
	if n := l.root.child("csv", name); n != nil && !l.has("csv", name, "machine") {
		machineAt = n.key
	}
	if problem := badName(c.Machine); problem != "" {
		l.fail(machineAt, `use letters, digits, - and _: machine = "pump1"`, "machine %q %s", c.Machine, problem)
	}
	n := l.root.child("csv", name, "columns")
	wrong := n != nil && slices.ContainsFunc(n.names, func(column string) bool { return n.named[column].kind != text })
	if len(c.Columns) == 0 || wrong { // any channel of the machine may come
		machine := c.Machine
		f.add(feed{name: machine + ".…", at: machineAt, replay: !c.Follow, machine: func(name string) bool { return name == machine },
			channel: func(name string) bool { return MachineOf(name) == machine }})
	}
	if n == nil || n.kind != table {
		return
	}
	for _, column := range n.names {
		value, ok := c.Columns[column]
		if !ok || n.named[column].kind != text {
			continue
		}
		path := []string{"csv", name, "columns", column}
		if slices.Contains(c.Ignore, column) {
			l.fail(n.named[column].key, "keep one of the two", "column %q is also in ignore", column)
		}
		channel, unit := SplitColumn(value)
		if !strings.Contains(channel, ".") {
			channel = c.Machine + "." + channel
		}
		l.unit(&unit, path)
		c.Columns[column] = strings.TrimSpace(channel + " " + unit)
		l.feed(f, feed{name: channel, at: l.at(path...), replay: !c.Follow}, 0, false)
	}
}

// SplitColumn splits what a CSV column is read into: "channel" or "channel unit".
func SplitColumn(value string) (channel, unit string) {
	channel, unit, _ = strings.Cut(strings.TrimSpace(value), " ")
	return channel, strings.TrimSpace(unit)
}

// simulate registers the channels of each pump set.
func (l *loader) simulate(f *feeds) {
	for _, name := range l.names("simulate") {
		p, ok := l.config.Simulate[name]
		if !ok {
			continue
		}
		at := l.root.child("simulate", name).key
		if problem := badName(name); problem != "" {
			l.fail(at, "use letters, digits, - and _", "name %q %s", name, problem)
		}
		pumps, err := simulate.New(simulate.Options{Name: name, Pumps: p.Pumps, Interval: time.Duration(p.Interval)})
		if err != nil { // what is wrong was told where it was decoded
			continue
		}
		for _, c := range pumps.Channels() {
			l.feed(f, feed{name: c.Name, at: at, every: p.Interval}, 0, false)
		}
	}
}
