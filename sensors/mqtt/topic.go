package mqtt

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// filter is a topic filter, split into its levels (MQTT 3.1.1, 4.7).
type filter []string

func parseFilter(s string) (filter, error) {
	switch {
	case s == "":
		return nil, errors.New("it is empty")
	case len(s) > mostTopicBytes:
		return nil, fmt.Errorf("it is longer than %d bytes", mostTopicBytes)
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return nil, errors.New("it is not UTF-8 text")
	case strings.HasPrefix(s, "$share/"):
		return nil, errors.New("shared subscriptions give each reader only a part of the messages; name the topics themselves")
	}
	f := filter(strings.Split(s, "/"))
	if len(f) > mostTopicLevels {
		return nil, fmt.Errorf("it has more than %d levels", mostTopicLevels)
	}
	for i, level := range f {
		if strings.ContainsAny(level, "+#") && len(level) > 1 {
			return nil, fmt.Errorf("level %q: + and # stand for whole levels, between slashes", level)
		}
		if level == "#" && i < len(f)-1 {
			return nil, errors.New("# can only be the last level")
		}
	}
	return f, nil
}

func (f filter) String() string { return strings.Join(f, "/") }

func (f filter) wildcards() (n int) {
	for _, level := range f {
		if level == "+" || level == "#" {
			n++
		}
	}
	return n
}

// match reports whether the topic is in the filter, and what each wildcard stood
// for. Wildcards at the first level leave out topics that begin with $ (4.7.2).
func (f filter) match(topic string) (wild []string, ok bool) {
	if strings.HasPrefix(topic, "$") && (f[0] == "+" || f[0] == "#") {
		return nil, false
	}
	levels := strings.Split(topic, "/")
	for i, want := range f {
		if want == "#" {
			return append(wild, strings.Join(levels[i:], ".")), true
		}
		if i == len(levels) {
			return nil, false
		}
		if want == "+" {
			wild = append(wild, levels[i])
		} else if want != levels[i] {
			return nil, false
		}
	}
	return wild, len(levels) == len(f)
}

// overlap reports whether some topic is in both filters.
func overlap(a, b filter) bool {
	if isWild(a[0]) && strings.HasPrefix(b[0], "$") || isWild(b[0]) && strings.HasPrefix(a[0], "$") {
		return false
	}
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == "#" || b[i] == "#" {
			return true
		}
		if a[i] != b[i] && a[i] != "+" && b[i] != "+" {
			return false
		}
	}
	return len(a) == len(b) || endsOneBelow(a, b) || endsOneBelow(b, a)
}

func isWild(level string) bool { return level == "+" || level == "#" }

// endsOneBelow: a/# is also a.
func endsOneBelow(a, b filter) bool { return len(a) == len(b)+1 && a[len(b)] == "#" }

// join is the narrowest filter that contains both.
func join(a, b filter) filter {
	var j filter
	for i := 0; i < len(a) && i < len(b); i++ {
		switch {
		case a[i] == "#" || b[i] == "#":
			return append(j, "#")
		case a[i] == b[i]:
			j = append(j, a[i])
		default:
			j = append(j, "+")
		}
	}
	if len(a) != len(b) {
		j = append(j, "#")
	}
	return j
}

// subscriptions are filters that contain the given ones and of which no two
// overlap: a broker may deliver a message once for each subscription that it
// matches (MQTT 3.1.1, 3.3.5), and there would be no telling the copies apart.
func subscriptions(filters []filter) []filter {
	var subs []filter
	for _, f := range filters {
		for i := 0; i < len(subs); i++ {
			if overlap(f, subs[i]) { // the wider filter may meet others anew
				f = join(f, subs[i])
				subs = slices.Delete(subs, i, i+1)
				i = -1
			}
		}
		subs = append(subs, f)
	}
	return subs
}

// template is a channel's name with places for what only a message tells.
type template []part

// part is a text, a wildcard counted from 1, or a line's name.
type part struct {
	text string
	wild int
	name bool
}

func parseTemplate(s string, wildcards int) (template, error) {
	var t template
	for rest := s; rest != ""; {
		text, after, open := strings.Cut(rest, "{")
		if strings.Contains(text, "}") {
			return nil, errors.New("a } without its {")
		}
		if text != "" {
			t = append(t, part{text: text})
		}
		if !open {
			break
		}
		inside, after, closed := strings.Cut(after, "}")
		if !closed {
			return nil, errors.New("a { without its }")
		}
		p, err := parsePlace(inside, wildcards)
		if err != nil {
			return nil, err
		}
		t, rest = append(t, p), after
	}
	if len(t) == 0 {
		return nil, errors.New("it is empty")
	}
	return t, nil
}

func parsePlace(s string, wildcards int) (part, error) {
	if s == "name" {
		return part{name: true}, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return part{}, fmt.Errorf("{%s}: write {1}, {2} … for what the wildcards matched or {name} for a line's name", s)
	}
	if n > wildcards {
		return part{}, fmt.Errorf("{%d}: the topic has only %d wildcards", n, wildcards)
	}
	return part{wild: n}, nil
}

// literal is the name of a template without places.
func (t template) literal() (string, bool) {
	if len(t) == 1 && t[0].text != "" {
		return t[0].text, true
	}
	return "", false
}

// named reports whether {name} is in it.
func (t template) named() bool {
	return slices.ContainsFunc(t, func(p part) bool { return p.name })
}

// fill makes the name; ok is false when that is no name for a channel, because
// it is empty or too long, or cannot be printed as one word.
func (t template) fill(wild []string, name string) (s string, ok bool) {
	var b strings.Builder
	for _, p := range t {
		text := p.text
		if p.name {
			text = name
		} else if p.wild > 0 {
			text = wild[p.wild-1]
		}
		if text == "" {
			return "", false
		}
		b.WriteString(text)
	}
	s = b.String()
	odd := func(r rune) bool { return r == utf8.RuneError || r == ' ' || !unicode.IsPrint(r) }
	return s, len(s) <= mostNameBytes && !strings.ContainsFunc(s, odd)
}
