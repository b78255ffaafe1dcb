package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// scalar sets text, a number or a truth; it reports false when n is neither.
func (l *loader) scalar(n *node, v reflect.Value, path []string) bool {
	var err error
	want := wanted(v.Type())
	switch {
	case want == text && n.kind == text:
		v.SetString(n.text)
	case want == boolean && n.kind == boolean:
		v.SetBool(n.text == "true")
	case want == number && (n.kind == number || n.kind == integer):
		var f float64
		if f, err = parseNumber(n); err == nil {
			v.SetFloat(f)
		}
	case want == integer && n.kind == integer && v.CanUint():
		var u uint64
		if u, err = strconv.ParseUint(strings.TrimPrefix(n.text, "+"), 0, 64); err == nil {
			v.SetUint(u)
		}
	case want == integer && n.kind == integer:
		var i int64
		if i, err = strconv.ParseInt(strings.TrimPrefix(n.text, "+"), 0, v.Type().Bits()); err == nil {
			v.SetInt(i)
		}
	default:
		l.wrongKind(n, path, want)
		return false
	}
	if err != nil {
		l.fail(n.value, "", "%s = %s is out of range", last(path), l.shown(n))
	}
	return err == nil
}

// parseNumber reads a whole or broken number; NaN and the infinities are none
// that a machine could have.
func parseNumber(n *node) (float64, error) {
	if n.kind == integer {
		i, err := strconv.ParseInt(strings.TrimPrefix(n.text, "+"), 0, 64)
		return float64(i), err
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(n.text, "_", ""), 64)
	if err == nil && (math.IsNaN(f) || math.IsInf(f, 0)) {
		err = strconv.ErrRange
	}
	return f, err
}

// wanted is the kind of value that a Go type is written as.
func wanted(t reflect.Type) kind {
	switch t {
	case reflect.TypeFor[Duration]():
		return "a duration in quotes"
	case reflect.TypeFor[Size]():
		return "a size in quotes"
	case reflect.TypeFor[Detectors]():
		return `"auto" or a list`
	}
	switch t.Kind() {
	case reflect.String:
		return text
	case reflect.Bool:
		return boolean
	case reflect.Float64:
		return number
	case reflect.Struct, reflect.Map:
		return table
	case reflect.Slice:
		return array
	case reflect.Pointer:
		return wanted(t.Elem())
	default:
		return integer
	}
}

// wrongKind says that a value is of another kind than its key wants, and how to
// write it where that can be guessed.
func (l *loader) wrongKind(n *node, path []string, want kind) {
	cure, key := "", quoteKey(last(path))
	plain := "[]{}\"'\n"
	switch shown := l.shown(n); {
	case shown == hidden:
	case want == text && (n.kind == integer || n.kind == number || n.kind == boolean || n.kind == moment):
		cure = fmt.Sprintf("write it in quotes: %s = %q", key, shown)
	case (want == number || want == integer || want == boolean) && n.kind == text && looksLike(shown, want):
		cure = fmt.Sprintf("write it without quotes: %s = %s", key, shown)
	case want == number && n.kind == text && decimalComma.MatchString(shown):
		cure = fmt.Sprintf("write it without quotes and with a point: %s = %s", key, pointed(shown))
	case want == number && n.kind == text && withUnit.MatchString(shown):
		cure = fmt.Sprintf("write the number alone, in the channel's unit: %s = %s", key, withUnit.FindStringSubmatch(shown)[1])
	case want == boolean && truths[strings.ToLower(shown)] != "":
		cure = fmt.Sprintf("write it without quotes: %s = %s", key, truths[strings.ToLower(shown)])
	case want == boolean && n.kind == integer && (shown == "0" || shown == "1"):
		cure = fmt.Sprintf("write %s = %t", key, shown == "1")
	case want == boolean:
		cure = fmt.Sprintf("write %s = true, or %s = false", key, key)
	case want == integer && n.kind == number:
		cure = "write it without a decimal point"
	case want == array && n.kind == text && !strings.ContainsAny(shown, plain):
		cure = fmt.Sprintf("write a list: %s = [%s]", key, quotedList(shown))
	case want == array && n.kind == table:
		cure = fmt.Sprintf("write a list of rows: %s = [{…}, {…}]", key)
	case want == "a duration in quotes" && n.kind == integer:
		cure = fmt.Sprintf(`say the unit, in quotes: %s = "%ss" for seconds, "%sm" for minutes`, key, shown, shown)
	case want == "a size in quotes" && n.kind == integer:
		bytes, _ := strconv.ParseInt(shown, 0, 64)
		cure = fmt.Sprintf("say the unit, in quotes: %s = %q", key, Size(bytes))
	case want == table && n.kind == boolean && shown == "false":
		cure = "remove the line: what has no table is off"
	case want == table && n.kind == boolean:
		cure = fmt.Sprintf("write %s = {}, with its keys between the braces where it needs some", key)
	case want == table:
		cure = fmt.Sprintf("write its keys below a header %s", bracketed(path))
	}
	what := fmt.Sprintf("%s in %s", last(path), l.describe(path[:max(0, len(path)-1)]))
	if list := l.root.child(path[:max(0, len(path)-1)]...); list != nil && list.kind == array {
		i := slices.Index(list.items, n)
		what = fmt.Sprintf("element %d of %s in %s", i+1, path[len(path)-2], bracketed(path[:len(path)-2]))
		switch {
		case want == table:
			cure = `write a row: {topic = "hall/pump1/vib", channel = "pump1.vibration"}`
		case want == text && cure != "":
			cure = fmt.Sprintf("write it in quotes: %q", l.shown(n))
		}
	}
	found := n.kind
	if want == integer && found == number {
		found = "a fraction"
	}
	l.fail(n.value, cure, "%s must be %s, not %s", what, want, found)
	l.lost(n)
}

// quotedList is what somebody meant who put a list into one text.
func quotedList(s string) string {
	var all []string
	for _, one := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		all = append(all, strconv.Quote(one))
	}
	return strings.Join(all, ", ")
}

func looksLike(s string, want kind) bool {
	if want == boolean {
		return s == "true" || s == "false"
	}
	if want == integer {
		_, err := strconv.ParseInt(s, 10, 64)
		return err == nil
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}
