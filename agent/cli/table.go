package cli

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// table writes aligned columns below their headings.
type table struct {
	p   *printer
	out *tabwriter.Writer
}

// table begins one. The last column is as wide as it likes.
func (p *printer) table(headings ...string) *table {
	t := &table{p, tabwriter.NewWriter(p.to, 0, 8, 2, ' ', 0)}
	t.row(headings...)
	return t
}

func (t *table) row(cells ...string) {
	if t.p.err == nil {
		_, t.p.err = fmt.Fprintln(t.out, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
}

// end writes what was gathered.
func (t *table) end() {
	if err := t.out.Flush(); t.p.err == nil {
		t.p.err = err
	}
}
