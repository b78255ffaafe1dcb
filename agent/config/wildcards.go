package config

import (
	"fmt"
	"strconv"
	"strings"
)

// fedByWildcard finds a channel that one message would feed twice: a row with a
// wildcard makes of its topic the name that another row gives it.
func (l *loader) fedByWildcard(rows []Topic, path []string) {
	if len(rows) > 2000 { // the square of it would take seconds; such files are made by programs
		return
	}
	for i, wide := range rows {
		if !wide.Dynamic() || l.anyBroken() {
			continue
		}
		for k, row := range rows {
			name, ok := named(wide, row.Topic)
			if name = strings.ReplaceAll(name, "{name}", row.Name); !ok || row.Dynamic() || name != row.Channel {
				continue
			}
			at := func(n int) span { return l.at(append(path[:2:2], "topics", strconv.Itoa(n), "channel")...) }
			l.fail(at(k), "remove one of the two rows, or give the channel another name",
				"channel %q is fed twice by a message of %s: by this row, and as %s in %s", name, row.Topic, wide.Channel, l.lineOf(at(i), at(k)))
		}
	}
}

// named is the channel that a row with wildcards makes of a topic without.
func named(row Topic, topic string) (channel string, ok bool) {
	filter, levels := strings.Split(row.Topic, "/"), strings.Split(topic, "/")
	if strings.ContainsAny(topic, "+#") || strings.HasPrefix(topic, "$") {
		return "", false
	}
	channel = row.Channel
	stood := 0
	for i, level := range filter {
		var matched string
		switch {
		case level == "#":
			matched = strings.Join(levels[min(i, len(levels)):], ".")
			levels = levels[:min(i, len(levels))]
		case i >= len(levels) || level != "+" && level != levels[i]:
			return "", false
		case level == "+":
			matched = levels[i]
		default:
			continue
		}
		stood++
		channel = strings.ReplaceAll(channel, fmt.Sprintf("{%d}", stood), matched)
	}
	return channel, len(levels) == len(filter) || filter[len(filter)-1] == "#"
}
