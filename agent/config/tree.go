package config

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is what a node holds, in the words that errors use.
type kind string

const (
	table   kind = "a table"
	array   kind = "a list"
	text    kind = "text"
	integer kind = "a whole number"
	number  kind = "a number"
	boolean kind = "true or false"
	moment  kind = "a date or time"
)

// node is one value of the file with its place. The tree keeps what go-toml's
// decoder forgets: the place of everything that is right, which the checks that
// look at two keys need, and what stands after the first error of type.
type node struct {
	kind   kind
	text   string // of a scalar: the text without quotes, or the number as written
	key    span   // its key; for an element of a list its own first byte
	value  span   // what is underlined when the value is wrong
	closed bool   // an inline table, or a table begun by dotted keys: no header may add to it
	header bool   // begun by its own [header]
	rows   bool   // a list begun by [[header]]

	detached bool // a table outside the tree, because its header is wrong

	names []string // keys of a table in the order of the file
	named map[string]*node
	items []*node // elements of a list
}

func newTable(key span) *node {
	return &node{kind: table, key: key, value: key, named: map[string]*node{}}
}

func detachedTable(key span) *node {
	n := newTable(key)
	n.detached = true
	return n
}

func (n *node) add(name string, child *node) {
	n.names = append(n.names, name)
	n.named[name] = child
}

// child is the value at a path below n, or nil. Elements of a list go by number.
func (n *node) child(path ...string) *node {
	for _, name := range path {
		if n == nil {
			return nil
		}
		if n.kind == array {
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(n.items) {
				return nil
			}
			n = n.items[i]
		} else {
			n = n.named[name]
		}
	}
	return n
}

// builder makes the tree of the statements that the parser gives it.
type builder struct {
	loader *loader
	parser *unstable.Parser
	base   int // offset in the file of the parser's first byte
	root   *node
	within *node // the table that keys now belong to
}

func (b *builder) span(r unstable.Range) span {
	from := b.base + int(r.Offset)
	return span{from, from + int(r.Length)}
}

// statement adds one statement to the tree and returns the offset of its end,
// without closing brackets and comments.
func (b *builder) statement(e *unstable.Node) int {
	if e.Kind == unstable.KeyValue {
		b.keyValue(e, b.within, 0)
		return b.span(e.Raw).to
	}
	var names []string
	var spans []span
	for it := e.Key(); it.Next(); {
		names, spans = append(names, string(it.Node().Data)), append(spans, b.span(it.Node().Raw))
	}
	b.within = b.header(names, spans, e.Kind == unstable.ArrayTable)
	return spans[len(spans)-1].to
}

// header finds or begins the table that [names] or [[names]] means. Where that
// cannot be, it says so and returns a table outside the tree, so that the keys
// below raise no errors that would go away with the first.
func (b *builder) header(names []string, spans []span, row bool) *node {
	n, last := b.root, len(names)-1
	all := span{spans[0].from, spans[last].to}
	for i, name := range names[:last] {
		next := n.named[name]
		switch {
		case next == nil:
			next = newTable(spans[i])
			n.add(name, next)
		case next.kind != table && next.rows:
			b.loader.fail(all, fmt.Sprintf("write it inline, in its row: %s = {…}", quoteKey(names[i+1])),
				"%s is a table below the rows of [[%s]]", bracketed(names), dotted(names[:i+1]))
			return detachedTable(all)
		case next.kind != table || next.closed:
			b.taken(spans[i], name, next)
			return detachedTable(all)
		}
		n = next
	}
	name, old := names[last], n.named[names[last]]
	switch {
	case old == nil && row:
		old = &node{kind: array, key: all, value: all, rows: true}
		n.add(name, old)
		fallthrough
	case old != nil && row && old.rows:
		old.items = append(old.items, newTable(all))
		return old.items[len(old.items)-1]
	case old == nil:
		old = newTable(all)
		n.add(name, old)
	case row || old.kind != table || old.closed:
		b.taken(all, name, old)
		return detachedTable(all)
	case old.header:
		b.loader.fail(all, "put all keys of the table under one header", "%s is begun twice; first in %s", bracketed(names), b.loader.lineOf(old.key, all))
	default:
		old.key, old.value = all, all
	}
	old.header = true
	return old
}

func (b *builder) taken(at span, name string, old *node) {
	b.loader.fail(at, "keep one of the two", "%q has its value already, in %s", name, b.loader.lineOf(old.key, at))
}

// keyValue adds "a.b = value" to the table t.
func (b *builder) keyValue(e *unstable.Node, t *node, depth int) {
	var key span
	var name string
	for it := e.Key(); it.Next(); {
		if name != "" || key != (span{}) { // not the last part: a dotted key
			next := t.named[name]
			if next == nil {
				next = newTable(key)
				next.closed = true
				t.add(name, next)
			}
			if next.kind != table || next.header || !next.closed {
				b.taken(key, name, next)
				return
			}
			t = next
		}
		name, key = string(it.Node().Data), b.span(it.Node().Raw)
	}
	child := b.value(e.Value(), depth)
	whole := b.span(e.Raw)
	child.key = key
	if child.kind == array || child.kind == table {
		child.value = span{b.afterEquals(key.to, whole.to), whole.to}
	}
	if old := t.named[name]; old != nil {
		b.loader.fail(key, "keep one of the two", "%q is given twice; first in %s", name, b.loader.lineOf(old.key, key))
		return
	}
	t.add(name, child)
	if t.detached {
		b.loader.lost(child)
	}
}

// afterEquals skips from the end of a key to its value: the parser does not say
// where a list begins.
func (b *builder) afterEquals(from, to int) int {
	for from < to && strings.IndexByte(" \t=", b.loader.doc.text[from]) >= 0 {
		from++
	}
	return from
}

const maxDepth = 8 // of lists and inline tables; the deepest that means anything is 3

func (b *builder) value(v *unstable.Node, depth int) *node {
	at := b.span(v.Raw)
	n := &node{text: string(v.Data), key: at, value: at}
	switch v.Kind {
	case unstable.InlineTable, unstable.Array:
		b.container(v, n, depth)
	case unstable.String:
		n.kind = text
	case unstable.Integer:
		n.kind = integer
	case unstable.Float:
		n.kind = number
	case unstable.Bool:
		n.kind = boolean
	default:
		n.kind = moment
	}
	return n
}

func (b *builder) container(v *unstable.Node, n *node, depth int) {
	n.kind, n.text = array, ""
	if v.Kind == unstable.InlineTable {
		n.kind, n.closed, n.named = table, true, map[string]*node{}
	}
	if depth == maxDepth {
		return
	}
	for it := v.Children(); it.Next(); {
		child := it.Node()
		if child.Kind == unstable.KeyValue {
			b.keyValue(child, n, depth+1)
			n.value.to = max(n.value.to, b.span(child.Raw).to)
			continue
		}
		item := b.value(child, depth+1)
		n.items = append(n.items, item)
		n.value.to = max(n.value.to, item.value.to)
		if len(n.items) == 1 && v.Raw.Length == 0 { // the parser does not say where a list begins
			n.value, n.key = item.value, item.key
		}
	}
}

// quoteKey writes a key as TOML wants it.
func quoteKey(name string) string {
	if name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == "" {
		return name
	}
	return strconv.Quote(name)
}

func dotted(path []string) string {
	quoted := make([]string, len(path))
	for i, name := range path {
		quoted[i] = quoteKey(name)
	}
	return strings.Join(quoted, ".")
}

func bracketed(path []string) string { return "[" + dotted(path) + "]" }
