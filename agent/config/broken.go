package config

import (
	"regexp"
	"strings"
	"unicode"
)

// broken is what stood in text whose meaning was lost to an error. What is
// missing elsewhere may be in it, so it raises no second error.
type broken struct {
	words map[string]bool
	feeds feeds // what wildcards in it may feed
}

var (
	brokenName  = regexp.MustCompile(`[\w.-]*(?:\{(?:\d+|name)\}?|\d\})[\w.{}-]*`)
	brokenPlace = regexp.MustCompile(`\{(?:\d+|name)\}?|\d+\}`)
)

// lose remembers a text that could not be used: its words, also the parts of
// those with dots, and names with places for what wildcards match.
func (l *loader) lose(text []byte) {
	apart := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && r != '_' && r != '-' && r != '.'
	}
	for _, word := range strings.FieldsFunc(string(text), apart) {
		l.broken.words[word] = true
		for _, part := range strings.Split(word, ".") {
			l.broken.words[part] = true
		}
	}
	for _, name := range brokenName.FindAll(text, mostErrors) {
		l.broken.feeds.add(template(brokenPlace.ReplaceAllString(string(name), "{1}"), span{}))
	}
}

// lost is lose of a value that could not be used, with its key; of a table with
// all that stands in it.
func (l *loader) lost(n *node) {
	l.lose(l.doc.text[min(n.key.from, n.value.from):max(n.key.to, n.value.to)])
	for _, name := range n.names {
		l.lost(n.named[name])
	}
}

// anyBroken reports whether anything was lost at all.
func (l *loader) anyBroken() bool { return len(l.broken.words) > 0 }

// mayBeBroken reports whether a key or a channel stands in text that was lost:
// it must not be called missing.
func (l *loader) mayBeBroken(word string) bool { return l.broken.words[word] }
