package config

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

const maxSyntaxErrors = 20 // beyond that the file is no TOML, and more errors are no help

// parse makes the tree of the newest file of the document. Where a statement is
// broken it says so, takes the statement out and goes on behind it.
func (l *loader) parse() *node {
	left := bytes.Clone(l.doc.text) // broken lines become spaces: offsets stay
	p := &unstable.Parser{}
	begin := l.doc.files[len(l.doc.files)-1].offset
	b := &builder{loader: l, parser: p, base: begin, root: newTable(span{begin, begin})}
	b.within = b.root
	for range maxSyntaxErrors {
		p.Reset(left[b.base:])
		end := b.base
		for p.NextExpression() {
			end = b.statement(p.Expression())
		}
		var broken *unstable.ParserError
		if !errors.As(p.Error(), &broken) {
			return b.root
		}
		at := b.span(p.Range(broken.Highlight))
		r := repair{doc: l.doc, left: left, start: min(firstLine(l.doc, left, b.base, end), l.doc.line(at.from))}
		lines, at, message := r.find(at, broken.Message)
		if strings.Contains(message, "after array value") && r.comma(&at) {
			l.fail(at, "put one there; the last element may have one too", "a comma is missing behind this element")
			b.base = l.doc.starts[r.start]
			continue
		}
		told, cure := explain(l.doc, at, message)
		l.fail(at, cure, "%s", told)
		b.base = l.doc.starts[r.start]
		if message == neverClosed && r.close(lines.to) {
			continue
		}
		if lines.from == r.start {
			b.brokenHeader(r.start)
		}
		l.lose(r.blank(lines))
	}
	l.fail(span{b.base, b.base}, "mend the first errors and check again", "more errors follow; the rest of the file was not read")
	return b.root
}

// firstLine is the line on which the statement behind end begins. Before the
// first statement end is base itself.
func firstLine(doc *document, left []byte, base, end int) int {
	n := doc.line(end)
	if end > base {
		n++
	}
	for ; n+1 < len(doc.starts); n++ {
		at := doc.bounds(n)
		line := bytes.TrimSpace(left[at.from:at.to])
		if len(line) > 0 && (line[0] != '#' || !utf8.Valid(line)) {
			break
		}
	}
	return min(n, len(doc.starts)-1)
}

// brokenHeader goes on below a header that lacks a bracket as if it had it.
// Where it cannot be told which table was meant, the keys below belong to none
// and are not checked.
func (b *builder) brokenHeader(line int) {
	at := b.loader.doc.bounds(line)
	text := b.loader.doc.text[at.from:at.to]
	m := nearlyHeader.FindSubmatchIndex(text)
	switch {
	case m != nil && m[3] > m[2] || m != nil && m[7] > m[6]:
		var names []string
		var spans []span
		for _, part := range keyPart.FindAllIndex(text[m[4]:m[5]], -1) {
			one := span{at.from + m[4] + part[0], at.from + m[4] + part[1]}
			names = append(names, strings.Trim(string(b.loader.doc.text[one.from:one.to]), `"'`))
			spans = append(spans, one)
		}
		b.within = b.header(names, spans, m[3]-m[2] == 2 || m[7]-m[6] == 2)
	case bytes.HasPrefix(bytes.TrimLeft(text, " \t"), []byte("[")):
		b.within = detachedTable(at)
	}
}
