package config

import (
	"bytes"
	"regexp"
	"strings"
)

// repair decides which lines to take out so that what stands around them can
// still be read.
type repair struct {
	doc   *document
	left  []byte
	start int // line on which the broken statement begins
}

var (
	headerLine   = regexp.MustCompile(`^\s*\[\[?\s*[\w-]+(\s*\.\s*([\w-]+|"[^"]*"|'[^']*'))*\s*\]\]?\s*(#.*)?$`)
	nearlyHeader = regexp.MustCompile(`^\s*(\[?\[?)\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*(\]?\]?)\s*(?:#.*)?$`)
	keyPart      = regexp.MustCompile(`[\w-]+|"[^"]*"|'[^']*'`)
	keyValueLine = regexp.MustCompile(`^\s*[\w-]+(\s*\.\s*([\w-]+|"[^"]*"|'[^']*'))*\s*=`)
)

func (r repair) line(n int) []byte {
	at := r.doc.bounds(n)
	return r.left[at.from:at.to]
}

// firstByte is the offset of the statement's first byte that is not space.
func (r repair) firstByte() int {
	at := r.doc.bounds(r.start)
	return min(at.from+len(r.line(r.start))-len(bytes.TrimLeft(r.line(r.start), " \t")), len(r.doc.text)-1)
}

// find returns the lines (both included) to take out, and the place and the
// message of the error. An error that the parser meets further down, because a
// bracket was left open, is told at that bracket.
func (r repair) find(at span, message string) (lines, place span, told string) {
	n := r.doc.line(at.from)
	open, depth := r.opened(n)
	incomplete := strings.Contains(message, "incomplete")
	if depth > 0 && (incomplete || r.beginsAnew(n, r.left[open])) {
		end := n - 1
		if incomplete && !r.beginsAnew(n, r.left[open]) {
			end = n
		}
		if r.left[open] == '{' && !incomplete { // the row alone, not the list that it is in
			return span{r.doc.line(open), end}, span{open, open + 1}, neverClosed
		}
		return span{r.start, end}, span{open, open + 1}, neverClosed
	}
	if strings.Contains(message, "multiline") && at.to >= len(r.doc.text) {
		// What follows the three quotes is read as if they were not there.
		return span{r.start, r.start}, span{r.firstByte(), r.doc.bounds(r.start).to}, message
	}
	return r.around(n, depth, open), at, message
}

// beginsAnew reports whether line n cannot stand within the bracket that is
// open before it: it is the header or the key of another statement, or another
// row.
func (r repair) beginsAnew(n int, open byte) bool {
	line := r.line(n)
	first := bytes.TrimLeft(line, " \t")
	row := len(first) > 0 && (first[0] == '{' || first[0] == ']')
	return headerLine.Match(line) || open == '[' && keyValueLine.Match(line) || open == '{' && row
}

// around is line n with the lines that cannot be read without it: those up to
// where the brackets that it opens close again, and those from where an inline
// table that it closes was opened.
func (r repair) around(n, depth, open int) span {
	lines := span{n, n}
	if all, _ := r.balance(n); depth > 0 && r.left[open] == '{' && all < 0 {
		lines.from = r.doc.line(open)
	}
	balance, braces := r.balance(n)
	for ; lines.to+1 < len(r.doc.starts); lines.to++ {
		next := r.line(lines.to + 1)
		trimmed := bytes.TrimLeft(next, " \t")
		goesOn := depth == 0 && len(trimmed) > 0 && strings.IndexByte("{}],", trimmed[0]) >= 0
		if headerLine.Match(next) || !goesOn && (balance <= 0 || braces <= 0 && keyValueLine.Match(next)) {
			break
		}
		all, curly := r.balance(lines.to + 1)
		balance, braces = balance+all, braces+curly
	}
	return lines
}

// comma puts the one that is missing at the end of the line before at, so that
// the rows behind it can be checked, and moves at there. It reports false where
// the comma is missing within a line or before a remark.
func (r repair) comma(at *span) bool {
	n := r.doc.line(at.from)
	if before := r.doc.bounds(n); n == r.start || len(bytes.TrimSpace(r.left[before.from:at.from])) > 0 || r.beginsAnew(n, '[') {
		return false
	}
	for n--; n > r.start && len(bytes.TrimSpace(r.line(n))) == 0; {
		n--
	}
	end := r.doc.bounds(n).to
	if bytes.ContainsRune(r.line(n), '#') || r.left[end] != '\n' {
		return false
	}
	r.left[end] = ','
	*at = span{end - 1, end}
	return true
}

// close puts the missing ] of a list in the place of the line end before an
// empty line, so that the rows of the list can be checked. It reports false
// where there is none, or where more than a ] is missing.
func (r repair) close(last int) bool {
	open, depth := r.opened(last + 1)
	for last > r.start && len(bytes.TrimSpace(r.line(last))) == 0 {
		last--
	}
	end := r.doc.bounds(last).to
	if depth != 1 || r.left[open] != '[' || bytes.ContainsRune(r.line(last), '#') {
		return false
	}
	if after := r.left[min(end+1, len(r.left)):]; end >= len(r.left) || len(after) > 0 && after[0] != '\n' {
		return false
	}
	r.left[end] = ']'
	return true
}

// blank overwrites whole lines with spaces and returns what stood there. A ]
// that closes the list around them stays.
func (r repair) blank(lines span) []byte {
	_, depth := r.opened(lines.from)
	at := span{r.doc.starts[lines.from], r.doc.bounds(lines.to).to}
	old := bytes.Clone(r.left[at.from:at.to])
	keep, open := -1, 0
	for n := lines.from; n <= lines.to && depth == 1; n++ {
		brackets(r.line(n), func(i int, c byte) {
			switch {
			case c == '[':
				open++
			case c == ']' && open > 0:
				open--
			case c == ']':
				keep = r.doc.starts[n] + i
			}
		})
	}
	for i := at.from; i < at.to; i++ {
		if r.left[i] != '\n' && i != keep {
			r.left[i] = ' '
		}
	}
	return old
}

// opened is the offset of the innermost bracket that is open before line n, and
// how many are.
func (r repair) opened(n int) (offset, depth int) {
	var stack []int
	for i := r.start; i < n; i++ {
		brackets(r.line(i), func(at int, c byte) {
			if c == '[' || c == '{' {
				stack = append(stack, r.doc.starts[i]+at)
			} else if len(stack) > 0 {
				stack = stack[:len(stack)-1]
			}
		})
	}
	if len(stack) == 0 {
		return 0, 0
	}
	return stack[len(stack)-1], len(stack)
}

// balance is how many brackets a line leaves open, and how many of them are
// those of inline tables.
func (r repair) balance(n int) (all, braces int) {
	brackets(r.line(n), func(_ int, c byte) {
		switch c {
		case '[':
			all++
		case ']':
			all--
		case '{':
			all, braces = all+1, braces+1
		case '}':
			all, braces = all-1, braces-1
		}
	})
	return all, braces
}

// brackets calls f for each bracket of a line outside quotes and comments. In a
// line where a quote is missing nobody knows what is quoted: all count.
func brackets(line []byte, f func(at int, c byte)) {
	if !eachBracket(line, true, func(int, byte) {}) {
		eachBracket(line, false, f)
		return
	}
	eachBracket(line, true, f)
}

// eachBracket reports whether all quotes are closed.
func eachBracket(line []byte, quotes bool, f func(at int, c byte)) bool {
	var quote byte
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quote != 0 && c == '\\' && quote == '"':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case quotes && (c == '"' || c == '\''):
			quote = c
		case c == '#':
			return true
		case c == '[' || c == ']' || c == '{' || c == '}':
			f(i, c)
		}
	}
	return quote == 0
}
