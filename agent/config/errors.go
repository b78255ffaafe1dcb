package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Error is one thing that is wrong in the file, told so that it can be mended
// without reading anything else.
type Error struct {
	File    string
	Line    int // from 1; 0 when the file itself could not be read
	Col     int // from 1, in characters as editors count them
	Message string
	Snippet string // the line, numbered, with what is meant underlined; secrets are masked
	Cure    string // what to write instead; empty where the message says it

	offset int // in all the files together, for their order
}

// Place is file:line:col, or the file alone where it could not be read.
func (e Error) Place() string {
	if e.Line == 0 {
		return e.File
	}
	return fmt.Sprintf("%s:%d:%d", e.File, e.Line, e.Col)
}

// Error is the place, the message, the line and the cure, on up to four lines.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Place() + ": " + e.Message)
	if e.Snippet != "" {
		b.WriteString("\n" + e.Snippet)
	}
	if e.Cure != "" {
		b.WriteString("\n  cure: " + e.Cure)
	}
	return b.String()
}

// Errors is everything that is wrong, in the order of the files. The process ends
// with exit code 78 (EX_CONFIG).
type Errors []Error

// Error is every message, one below the other.
func (e Errors) Error() string {
	all := make([]string, len(e))
	for i := range e {
		all[i] = e[i].Error()
	}
	return strings.Join(all, "\n")
}

// sorted orders by place and leaves out what was said twice.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Compare(a.offset, b.offset)
	})
	return slices.Compact(e)
}
