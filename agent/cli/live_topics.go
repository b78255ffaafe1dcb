package cli

import (
	"maps"
	"slices"
	"strings"

	"tocsin/agent/config"
)

// inFilter reports whether a topic is in a filter (MQTT 3.1.1, 4.7).
func inFilter(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && !strings.HasPrefix(filter, "$") {
		return false
	}
	want, have := strings.Split(filter, "/"), strings.Split(topic, "/")
	for i, level := range want {
		switch {
		case level == "#":
			return true
		case i == len(have) || level != "+" && level != have[i]:
			return false
		}
	}
	return len(want) == len(have)
}

// nearestTopic is the filter that was probably meant, judged by the topics that
// did arrive, with its own wildcards where they fit: one level is misspelled, or
// all of it is a little, or it is the only one that begins or ends so. "" if none
// is near.
func nearestTopic(filter string, topics map[string][]int) string {
	var words, others, all []string
	whole := map[string]string{} // topics that differ in one level, by their word there
	var wanted string            // the filter's
	for _, topic := range sortedKeys(topics) {
		topic = withWildcards(filter, topic)
		want, have, one := onlyDifference(filter, topic)
		switch {
		case strings.HasPrefix(topic, "$") || topic == filter:
			continue
		case one && (wanted == "" || wanted == want):
			wanted = want
			whole[have], words = topic, append(words, have)
		case !one:
			others = append(others, topic)
		}
		all = append(all, topic)
	}
	if near := config.Nearest(wanted, words); near != "" {
		return whole[near]
	}
	if near := config.Nearest(filter, others); near != "" {
		return near
	}
	return sameEnds(filter, slices.Compact(all))
}

// onlyDifference is the one level in which two topics of equally many differ.
func onlyDifference(a, b string) (levelA, levelB string, one bool) {
	as, bs := strings.Split(a, "/"), strings.Split(b, "/")
	if len(as) != len(bs) {
		return "", "", false
	}
	n := 0
	for i := range as {
		if as[i] != bs[i] {
			n++
			levelA, levelB = as[i], bs[i]
		}
	}
	return levelA, levelB, n == 1
}

// withWildcards puts the filter's wildcards where the topic has as many levels.
func withWildcards(filter, topic string) string {
	want, have := strings.Split(filter, "/"), strings.Split(topic, "/")
	if len(want) != len(have) {
		return topic
	}
	for i, level := range want {
		if level == "+" || level == "#" {
			have[i] = level
		}
	}
	return strings.Join(have, "/")
}

// sameEnds is the one topic that has the filter's last level, or all levels but
// the last: a level too many, too few or renamed. "" if several have.
func sameEnds(filter string, topics []string) string {
	parent, last := cutLast(filter)
	var found []string
	for _, topic := range topics {
		p, l := cutLast(topic)
		if l == last && last != "+" && last != "#" || p == parent && parent != "" {
			found = append(found, topic)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return ""
}

func cutLast(topic string) (parent, last string) {
	i := strings.LastIndex(topic, "/")
	return topic[:max(i, 0)], topic[i+1:]
}

// arrived is the topics to show to who has to find the right one: those with
// the filter's first level, else any.
func arrived(filter string, topics map[string][]int) []string {
	first, _, _ := strings.Cut(filter, "/")
	var same, all []string
	for _, topic := range slices.Sorted(maps.Keys(topics)) {
		if strings.HasPrefix(topic, "$") {
			continue
		}
		all = append(all, topic)
		if strings.HasPrefix(topic, first+"/") {
			same = append(same, topic)
		}
	}
	if len(same) > 0 {
		return same
	}
	return all
}
