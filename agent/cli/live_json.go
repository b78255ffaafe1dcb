package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/agent/config"
)

// decodeJSON reads one value and nothing after it; numbers keep their text.
func decodeJSON(payload []byte) (value any, err error) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more after the value: %w", err)
	}
	return value, nil
}

// lookup follows a JSON Pointer (RFC 6901); nil where it leads nowhere.
func lookup(value any, pointer string) any {
	found, _ := follow(value, pointer)
	return found
}

// has reports whether the pointer leads to something, be it null.
func has(value any, pointer string) bool {
	_, ok := follow(value, pointer)
	return ok
}

func follow(value any, pointer string) (any, bool) {
	if pointer == "" {
		return value, true
	}
	for _, token := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		switch v := value.(type) {
		case map[string]any:
			next, ok := v[token]
			if !ok {
				return nil, false
			}
			value = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(v) {
				return nil, false
			}
			value = v[i]
		default:
			return nil, false
		}
	}
	return value, true
}

// mostPointers bounds what is listed of one payload.
const mostPointers = 200

// pointersTo lists the pointers to what is wanted, in the order of the keys.
func pointersTo(value any, wanted func(any) bool) (all []string) {
	var walk func(v any, at string)
	walk = func(v any, at string) {
		if len(all) == mostPointers {
			return
		}
		if at != "" && wanted(v) {
			all = append(all, at)
		}
		switch v := v.(type) {
		case map[string]any:
			for _, key := range slices.Sorted(maps.Keys(v)) {
				walk(v[key], at+"/"+strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1"))
			}
		case []any:
			for i, element := range v {
				if _, plain := element.(json.Number); !plain { // those of an array are read by the array's pointer
					walk(element, at+"/"+strconv.Itoa(i))
				}
			}
		}
	}
	walk(value, "")
	return all
}

// numbersIn is where there is a number or an array that begins with one.
func numbersIn(value any) []string {
	return pointersTo(value, func(v any) bool {
		if list, ok := v.([]any); ok && len(list) > 0 {
			v = list[0]
		}
		switch v := v.(type) {
		case json.Number:
			return true
		case string:
			_, err := strconv.ParseFloat(v, 64)
			return err == nil
		}
		return false
	})
}

func arraysIn(value any) []string {
	return pointersTo(value, func(v any) bool { _, ok := v.([]any); return ok })
}

// timesIn is where there is a number or a text that is a time of our days.
func timesIn(value any) []string {
	return pointersTo(value, func(v any) bool {
		switch v := v.(type) {
		case json.Number:
			return formatOf(v.String()) != ""
		case string:
			return formatOf(v) != ""
		}
		return false
	})
}

// examineTime says that a time is not written as time_format says.
func examineTime(t config.Topic, text string) fault {
	format := t.TimeFormat
	if fits(format, text) {
		return fault{}
	}
	f := fault{fmt.Sprintf("the time %s is not written as time_format = %q says", excerpt([]byte(text)), format), "write how 2006-01-02 15:04:05 would be written there"}
	if near := formatOf(text); near != "" {
		f.cure = fmt.Sprintf("write time_format = %q", near)
	}
	return f
}

// fits reports whether a text is a time of this format and of our days.
func fits(format, text string) bool {
	unit := map[string]float64{"unix": 1, "unix_ms": 1e3, "unix_us": 1e6, "unix_ns": 1e9}[format]
	if unit > 0 {
		seconds, err := strconv.ParseFloat(text, 64)
		seconds /= unit
		const from, to = 9.4e8, 4.1e9 // 2000 to 2100
		return err == nil && seconds > from && seconds < to
	}
	if format == "rfc3339" || format == "" {
		format, text = time.RFC3339, strings.ToUpper(strings.Replace(text, " ", "T", 1))
	}
	_, err := time.Parse(format, text)
	return err == nil
}

// formatOf is the first known way in which the text is a time of our days.
func formatOf(text string) string {
	for _, format := range []string{"rfc3339", "unix", "unix_ms", "unix_us", "unix_ns", "2006-01-02T15:04:05", "2006-01-02 15:04:05",
		"02.01.2006 15:04:05", "01/02/2006 15:04:05", "2006/01/02 15:04:05", time.RFC1123Z, time.RFC1123, time.ANSIC} {
		if fits(format, text) {
			return format
		}
	}
	return ""
}
