package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// uplink checks what goes to Kafka beside the events.
func (l *loader) uplink(f *feeds) {
	u := l.config.Uplink
	taken := map[string]string{l.config.Kafka.Events: "[kafka] events", l.config.Kafka.Status: "[kafka] status"}
	check := func(table, topic string) {
		path := []string{"uplink", table}
		at := l.at(join(path, "topic")...)
		switch other := taken[topic]; {
		case other != "":
			l.fail(at, fmt.Sprintf("give it a topic of its own: topic = %q", "tocsin."+table+".v1"), "%s goes to the topic %q of %s", bracketed(path), topic, other)
		case !topicName.MatchString(topic):
			l.fail(at, legalTopic(topic), "Kafka allows no topic of the name %q", topic)
		}
		taken[topic] = bracketed(path)
		l.wantedChannels(f, join(path, "channels"))
	}
	if u.Scores != nil {
		check("scores", u.Scores.Topic)
	}
	if u.Samples != nil {
		check("samples", u.Samples.Topic)
	}
}

// wantedChannels checks that each pattern of a list finds a channel.
func (l *loader) wantedChannels(f *feeds, path []string) {
	n := l.root.child(path...)
	if n == nil || n.kind != array {
		return
	}
	if l.empty(n) {
		l.fail(n.value, fmt.Sprintf("remove the line to send every channel, or the table %s to send none", bracketed(path[:2])), "channels is an empty list")
	}
	for i, item := range n.items {
		if item.kind != text || l.anyBroken() || len(l.errs) > mostErrors {
			continue
		}
		wanted := Wanted([]string{item.text})
		if f.matches(wanted) || f.mayMatch(item.text) {
			continue
		}
		cure := "name channels as the sources do; * stands for any text: \"pump1.*\""
		if near := Nearest(item.text, slices.Concat(f.names, f.families(), f.patterns())); near != "" {
			cure = fmt.Sprintf("did you mean %q?", near)
		}
		l.fail(l.at(join(path, strconv.Itoa(i))...), cure, "no channel is called %q", item.text)
	}
}

// Wanted reports which channels a list of names asks for, in which * stands for
// any text, also none. Nil, which asks for all, where the list is empty.
func Wanted(channels []string) func(channel string) bool {
	if len(channels) == 0 {
		return nil
	}
	patterns := make([]string, len(channels))
	for i, c := range channels {
		patterns[i] = strings.ReplaceAll(regexp.QuoteMeta(c), `\*`, ".*")
	}
	return regexp.MustCompile("^(?:" + strings.Join(patterns, "|") + ")$").MatchString
}

// MayWant reports whether a list of names may ask for a channel that a source
// names only when it reads: "{1}.vibration".
func MayWant(channels []string, template string) bool {
	return len(channels) == 0 || slices.ContainsFunc(channels, func(c string) bool { return overlap(c, starred(template)) })
}

// starred is a name with * for each of its places, and for a file's columns.
func starred(name string) string {
	return strings.ReplaceAll(places.ReplaceAllLiteralString(name, "*"), "…", "*")
}

// overlap reports whether some text fits both patterns, in which * stands for
// any text.
func overlap(a, b string) bool {
	below, row := make([]bool, len(b)+1), make([]bool, len(b)+1)
	for i := len(a); i >= 0; i-- {
		for j := len(b); j >= 0; j-- {
			switch endA, endB := i == len(a), j == len(b); {
			case endA && endB:
				row[j] = true
			case !endA && a[i] == '*':
				row[j] = below[j] || !endB && row[j+1]
			case !endB && b[j] == '*':
				row[j] = row[j+1] || !endA && below[j]
			default:
				row[j] = !endA && !endB && a[i] == b[j] && below[j+1]
			}
		}
		below, row = row, below
	}
	return below[0]
}
