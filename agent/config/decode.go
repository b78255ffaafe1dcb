package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// decode sets v from n and says everything that is wrong on the way. path leads
// to n, tag is the struct tag of the field that v is (of a list's element: the
// list's).
func (l *loader) decode(n *node, v reflect.Value, path []string, tag reflect.StructTag) {
	if d, ok := v.Addr().Interface().(*Detectors); ok && n.kind == array {
		l.detectors(n, d, path)
		return
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if n.kind != text {
			l.wrongKind(n, path, wanted(v.Type()))
		} else if err := u.UnmarshalText([]byte(n.text)); err != nil {
			l.failErr(n.value, err)
		} else {
			l.bounds(n, v, path, tag)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		setDefaults(fresh.Elem())
		before := len(l.errs)
		l.decode(n, fresh.Elem(), path, tag)
		if len(l.errs) == before || n.kind == table { // else it stays as if not given
			v.Set(fresh)
		}
	case reflect.Struct:
		l.structure(n, v, path)
	case reflect.Map:
		l.tableOf(n, v, path)
	case reflect.Slice:
		l.listOf(n, v, path, tag)
	default:
		if l.scalar(n, v, path) {
			l.bounds(n, v, path, tag)
			l.file(n, v, path, tag.Get("path"))
		}
	}
}

// structure decodes a table with a fixed set of keys.
func (l *loader) structure(n *node, v reflect.Value, path []string) {
	if n.kind != table {
		l.wrongKind(n, path, table)
		return
	}
	given := map[string]bool{}
	for _, name := range n.names {
		child := n.named[name]
		if i := fieldNamed(v.Type(), name); i >= 0 {
			given[name] = true
			l.decode(child, v.Field(i), join(path, name), v.Type().Field(i).Tag)
			continue
		}
		meant := l.unknownKey(name, child, v.Type(), path)
		given[meant] = true
		l.lost(child)
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if name := f.Tag.Get("toml"); f.Tag.Get("required") == "true" && !given[name] && !l.mayBeBroken(name) {
			l.fail(n.key, fmt.Sprintf("add %s = …  # %s", name, f.Tag.Get("doc")), "%s has no %s", l.describe(path), name)
		}
	}
}

// unknownKey says that a key means nothing here and what was probably meant; it
// returns that key where it belongs into the same table.
func (l *loader) unknownKey(name string, n *node, t reflect.Type, path []string) (meant string) {
	keys := keysOf(t)
	cure := ""
	switch low := strings.ToLower(name); {
	case isSecretName(low):
		cure = "a secret does not belong in this file: write it into a file of mode 0600 and name that"
		if fieldNamed(t, "password_file") >= 0 {
			cure += " with password_file"
			meant = "password_file"
		}
	case strings.Contains(low, "insecure") || strings.Contains(low, "skip_verify"):
		cure = "the other side is always checked: name the certificates that it descends from with ca"
	case n.kind == table && len(path) == 2 && !n.closed:
		cure = fmt.Sprintf("a name with dots stands in quotes: [%s.%q]", path[0], strings.Join(chain(path[1], name, n), "."))
	default:
		if meant = otherName(low, keys); meant == "" {
			meant = Nearest(name, keys)
		}
		if meant != "" {
			cure = fmt.Sprintf("did you mean %q?", meant)
		} else if homes := homesOf(low); len(homes) > 0 {
			cure = fmt.Sprintf("%q belongs in %s", low, homes[0])
			if above := path[:max(0, len(path)-2)]; len(above) == 2 && l.root.child(path[:3]...).rows && slices.Contains(homes, "["+above[0]+".…]") {
				cure = fmt.Sprintf("%q belongs in %s: write it above the first [[%s]]", name, bracketed(above), dotted(path[:3]))
			}
		} else {
			cure = "known here: " + strings.Join(keys, ", ")
		}
	}
	what := "key"
	if len(path) == 0 && n.kind == table {
		what = "table"
	}
	l.fail(n.key, cure, "unknown %s %q in %s", what, name, l.describe(path))
	return meant
}

// chain is the name that was meant by tables within tables: a.b.c.
func chain(first, name string, n *node) []string {
	names := []string{first, name}
	for len(n.names) > 0 && n.named[n.names[0]].kind == table && !n.header {
		names, n = append(names, n.names[0]), n.named[n.names[0]]
	}
	return names
}

// tableOf decodes a table whose keys are names of the site's own.
func (l *loader) tableOf(n *node, v reflect.Value, path []string) {
	if n.kind != table {
		l.wrongKind(n, path, table)
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.names)))
	if l.nameless(n, v.Type().Elem(), path) {
		return
	}
	for _, name := range n.names {
		value := reflect.New(v.Type().Elem()).Elem()
		setDefaults(value)
		l.decode(n.named[name], value, join(path, name), "")
		v.SetMapIndex(reflect.ValueOf(name), value)
	}
}

// nameless tells of a table [mqtt] that was meant to be [mqtt.hall]: its first
// key is one of those of a named table, and no table itself.
func (l *loader) nameless(n *node, t reflect.Type, path []string) bool {
	if t.Kind() != reflect.Struct || len(n.names) == 0 || len(path) != 1 {
		return false
	}
	first := n.named[n.names[0]]
	if first.kind == table || fieldNamed(t, n.names[0]) < 0 {
		return false
	}
	l.fail(n.key, fmt.Sprintf("write %s, with a name of your own for hall", bracketed(join(path, "hall"))), "%s has no name", bracketed(path))
	l.lost(n)
	for _, name := range n.names {
		l.lost(n.named[name])
	}
	return true
}

func (l *loader) listOf(n *node, v reflect.Value, path []string, tag reflect.StructTag) {
	if n.kind != array {
		l.wrongKind(n, path, array)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
	for i, item := range n.items {
		setDefaults(v.Index(i))
		l.decode(item, v.Index(i), join(path, strconv.Itoa(i)), tag)
	}
}

func (l *loader) detectors(n *node, d *Detectors, path []string) {
	*d = Detectors{Names: []string{}}
	for i, item := range n.items {
		switch {
		case item.kind != text:
			l.wrongKind(item, join(path, strconv.Itoa(i)), text)
		case item.text == "auto":
			l.fail(item.value, `write detectors = "auto", without a list`, `"auto" stands for the whole list and cannot be in it`)
		case !slices.Contains(DetectorNames(), item.text):
			l.fail(item.value, didYouMean(item.text, DetectorNames()), "there is no detector %q", item.text)
		case slices.Contains(d.Names, item.text):
			l.fail(item.value, "remove it", "detector %q is named twice", item.text)
		default:
			d.Names = append(d.Names, item.text)
		}
	}
}

// bounds checks the tags min, max and enum of a value that was decoded.
func (l *loader) bounds(n *node, v reflect.Value, path []string, tag reflect.StructTag) {
	if enum := tag.Get("enum"); enum != "" && v.Kind() == reflect.String {
		if words := strings.Split(enum, ","); !slices.Contains(words, v.String()) {
			l.fail(n.value, didYouMean(n.text, words), "%s = %q is not known", last(path), l.shown(n))
		}
	}
	low, high := tag.Get("min"), tag.Get("max")
	below := low != "" && less(v, parsed(v.Type(), low))
	above := high != "" && less(parsed(v.Type(), high), v)
	if !below && !above {
		return
	}
	cure := "write at least " + low
	if low != "" && high != "" {
		cure = fmt.Sprintf("write a value from %s to %s", low, high)
	}
	l.fail(n.value, cure, "%s = %s is too %s", last(path), l.shown(n), map[bool]string{true: "small", false: "large"}[below])
}

func last(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return path[len(path)-1]
}

// join is path with one more name, never sharing its array.
func join(path []string, name string) []string { return append(path[:len(path):len(path)], name) }
