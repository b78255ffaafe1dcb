package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// printer writes lines until one fails, and keeps that error.
type printer struct {
	to    io.Writer
	width int // of a paragraph; 0: columns
	err   error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.to, format+"\n", args...)
	}
}

// para writes words below a heading of at most ten letters, or of none, broken
// into lines.
func (p *printer) para(heading, words string) {
	const indent = 11
	width := p.width
	if width == 0 {
		width = columns
	}
	line := fmt.Sprintf("%-*s", indent, heading)
	indented := len(words) - len(strings.TrimLeft(words, " -")) // of a list
	line += words[:indented]
	empty := true
	for _, word := range strings.Fields(words[indented:]) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			p.line("%s", line)
			line, empty = strings.Repeat(" ", indent+indented), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	p.line("%s", line)
}

// quote writes a JSON string.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}
