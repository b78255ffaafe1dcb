package config

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

// span is a run of bytes of the file, to not included.
type span struct{ from, to int }

// document is the text of the files, one behind the other, and the way from an
// offset to a place that a person can find. Nothing that may be a secret leaves
// it.
type document struct {
	files   []part
	text    []byte
	starts  []int  // offset of each line's first byte
	secrets []span // in order, not overlapping; found at the first error
	sought  bool
}

// part is where one file begins in the document.
type part struct {
	file   string
	offset int
	line   int // from 0
}

// add puts a file behind those that are there. They end in a line end from then
// on, so that every line belongs to one file.
func (d *document) add(file string, text []byte) {
	if n := len(d.text); len(d.files) > 0 && (n == d.starts[0] || d.text[n-1] != '\n') {
		d.text, d.starts = append(d.text, '\n'), append(d.starts, n+1)
	}
	from := len(d.text)
	if len(d.files) == 0 {
		d.starts = []int{0}
	}
	d.files = append(d.files, part{file, from, len(d.starts) - 1})
	d.text, d.sought = append(d.text[:from:from], text...), false
	for i, c := range text {
		if c == '\n' {
			d.starts = append(d.starts, from+i+1)
		}
	}
}

// fileOf is the file that line n, from 0, stands in.
func (d *document) fileOf(n int) part {
	i := sort.Search(len(d.files), func(i int) bool { return d.files[i].line > n })
	return d.files[max(0, i-1)]
}

// line is the number, from 0, of the line that offset lies in. An offset at the
// very end belongs to the last line that has text.
func (d *document) line(offset int) int {
	offset = max(0, min(offset, len(d.text)-1))
	return sort.SearchInts(d.starts, offset+1) - 1
}

// bounds are the offsets of line n without its line end.
func (d *document) bounds(n int) span {
	to := len(d.text)
	if n+1 < len(d.starts) {
		to = d.starts[n+1] - 1
	}
	from := d.starts[n]
	if to > from && d.text[to-1] == '\r' {
		to--
	}
	return span{from, to}
}

// position is the file with line and column, both from 1; the column counts
// characters.
func (d *document) position(offset int) (file string, line, col int) {
	n := d.line(offset)
	offset = max(d.starts[n], min(offset, len(d.text)))
	in := d.fileOf(n)
	return in.file, n - in.line + 1, utf8.RuneCount(d.text[d.starts[n]:offset]) + 1
}

// place is file:line:col of an offset.
func (d *document) place(offset int) string {
	file, line, col := d.position(offset)
	return fmt.Sprintf("%s:%d:%d", file, line, col)
}

func (d *document) error(at span, message, cure string) Error {
	file, line, col := d.position(at.from)
	return Error{File: file, Line: line, Col: col, Message: message, Cure: cure, Snippet: d.snippet(at), offset: at.from}
}

const snippetWidth = 100 // characters of a long line that are shown

// snippet is the line of at with its number, and the part that is meant
// underlined. Secrets become *** whatever their length.
func (d *document) snippet(at span) string {
	n := d.line(at.from)
	line := d.bounds(n)
	var shown []rune
	first, last := -1, -1 // what to underline, in shown
	for i := line.from; i < line.to; {
		if i >= at.from && first < 0 {
			first = len(shown)
		}
		if i < at.to {
			last = len(shown) + 1
		}
		if hidden := d.secret(i); hidden.from <= i && hidden.to > i {
			shown = append(shown, '*', '*', '*')
			if at.from >= i && at.from < hidden.to && first < 0 {
				first = len(shown) - 3
			}
			if i = hidden.to; i <= at.to {
				last = len(shown)
			}
			continue
		}
		r, size := utf8.DecodeRune(d.text[i:line.to])
		if r == '\t' || r < ' ' || r == 0x7f {
			r = ' '
		}
		shown, i = append(shown, r), i+size
	}
	if first < 0 {
		first = len(shown)
	}
	last = max(last, first+1)
	if len(shown) > snippetWidth {
		cut := max(0, min(first-snippetWidth/3, len(shown)-snippetWidth))
		shown, first, last = shown[cut:cut+snippetWidth], first-cut, min(last-cut, snippetWidth)
	}
	number := fmt.Sprint(n - d.fileOf(n).line + 1)
	return fmt.Sprintf("  %s | %s\n  %s | %s%s", number, strings.TrimRight(string(shown), " "),
		strings.Repeat(" ", len(number)), strings.Repeat(" ", first), strings.Repeat("^", max(1, last-first)))
}

// secret is the first masked span that reaches beyond offset.
func (d *document) secret(offset int) span {
	if !d.sought {
		d.secrets, d.sought = findSecrets(d.text), true
	}
	i := sort.Search(len(d.secrets), func(i int) bool { return d.secrets[i].to > offset })
	if i == len(d.secrets) {
		return span{len(d.text), len(d.text)}
	}
	return d.secrets[i]
}

// isSecret reports whether any part of at must not be shown.
func (d *document) isSecret(at span) bool { return d.secret(at.from).from < at.to }

var (
	// secretKey is a key whose value may be a secret, whether or not the line is
	// valid TOML; its group is a suffix that says the value is a file.
	secretKey = regexp.MustCompile(`(?im)(?:^|[{,.])[ \t]*["']?[\w-]*(?:passw(?:or)?[dt]|kennwort|geheim|mot_?de_?passe|contrase|clave|passphrase|pwd|secret|token|credential|api[_-]?key|private[_-]?key)[\w-]*?(_file|_path)?\b["']?[ \t]*[=:]?[ \t]*`)
	inText    = regexp.MustCompile(`(?i)password[ \t]*=[ \t]*["']?([^\s"';]+)`) // within a text, as sasl.jaas.config has it
	userinfo  = regexp.MustCompile(`://[^\s/"'@]*:([^\s"']*)@`)
	pemKey    = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|\z)`)
)

// findSecrets finds what an error must not print: the values of keys that name
// a secret, the password inside a URL, and PEM keys. It works on the raw text,
// so that a syntax error hides nothing from it.
func findSecrets(text []byte) []span {
	var found []span
	for _, m := range secretKey.FindAllSubmatchIndex(text, -1) {
		value := secretValue(text, m[1])
		isFile := m[2] >= 0 && bytes.ContainsRune(text[value.from:value.to], '/')
		if value.to > value.from && !isFile {
			found = append(found, value)
		}
	}
	for _, inner := range []*regexp.Regexp{inText, userinfo} {
		for _, m := range inner.FindAllSubmatchIndex(text, -1) {
			found = append(found, span{m[2], m[3]})
		}
	}
	for _, m := range pemKey.FindAllIndex(text, -1) {
		found = append(found, span{m[0], m[1]})
	}
	sort.Slice(found, func(i, j int) bool { return found[i].from < found[j].from })
	merged := found[:0]
	for _, s := range found {
		if n := len(merged); n > 0 && s.from <= merged[n-1].to {
			merged[n-1].to = max(merged[n-1].to, s.to)
			continue
		}
		merged = append(merged, s)
	}
	return merged
}

// secretValue is the value that begins at from: what is between its quotes, or
// the rest of the line where it is not quoted or the quote is not closed.
func secretValue(text []byte, from int) span {
	rest := text[from:]
	for _, quote := range []string{`"""`, "'''"} {
		if bytes.HasPrefix(rest, []byte(quote)) {
			if end := bytes.Index(rest[3:], []byte(quote)); end >= 0 {
				return span{from + 3, from + 3 + end}
			}
			return span{from + 3, len(text)}
		}
	}
	end := bytes.IndexByte(rest, '\n')
	if end < 0 {
		end = len(rest)
	}
	if end > 0 && (rest[0] == '"' || rest[0] == '\'') {
		for i := 1; i < end; i++ {
			if rest[i] == '\\' && rest[0] == '"' {
				i++
			} else if rest[i] == rest[0] {
				return span{from + 1, from + i}
			}
		}
		return span{from + 1, from + end}
	}
	return span{from, from + end}
}
