package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"tocsin/agent/config"
)

// examine says why a payload gives a row no reading, or nothing where it should
// give one. most is how many bytes the agent takes.
func examine(t config.Topic, payload []byte, most int) fault {
	if len(payload) > most {
		return fault{fmt.Sprintf("the message has %d bytes, more than max_payload", len(payload)), `raise max_payload if it is meant`}
	}
	switch t.Format {
	case "lines":
		return examineLines(t, payload)
	case "number":
		return examineNumber(payload)
	}
	return examineJSON(t, payload)
}

func examineNumber(payload []byte) fault {
	text := string(bytes.TrimSpace(payload))
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return fault{}
	}
	f := fault{excerpt(payload) + " is no number", "set format as the device writes it"}
	if value, err := decodeJSON(payload); err == nil {
		if numbers := numbersIn(value); len(numbers) > 0 {
			f = fault{excerpt(payload) + " is JSON, not one number", fmt.Sprintf("add pointer = %q", numbers[0])}
		}
	} else if words := strings.Fields(text); len(words) > 1 {
		if _, err := strconv.ParseFloat(words[1], 64); err == nil {
			f.cure = fmt.Sprintf(`these may be lines: write format = "lines", name = %q`, words[0])
		} else if _, err := strconv.ParseFloat(words[0], 64); err == nil {
			f.cure = "have the device send the number alone, without its unit"
		}
	}
	return f
}

func examineLines(t config.Topic, payload []byte) fault {
	var names []string
	for line := range strings.Lines(string(payload)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		if t.Name != "" && words[0] != t.Name {
			names = append(names, words[0])
			continue
		}
		if _, err := strconv.ParseFloat(words[1], 64); err != nil {
			return fault{fmt.Sprintf("in the line %s the value is no number", excerpt([]byte(line))), "have the device send: name value [time]"}
		}
		if len(words) > 2 {
			return examineTime(t, strings.Join(words[2:], " "))
		}
		return fault{}
	}
	if len(names) == 0 {
		return fault{excerpt(payload) + " holds no lines of: name value [time]", `set format as the device writes it: "json" or "number"`}
	}
	f := fault{fmt.Sprintf("there is no line %q", t.Name), "it has lines for " + shortList(names)}
	if near := config.Nearest(t.Name, names); near != "" {
		f.cure = fmt.Sprintf("did you mean name = %q?", near)
	}
	return f
}

func examineJSON(t config.Topic, payload []byte) fault {
	value, err := decodeJSON(payload)
	if err != nil {
		return fault{excerpt(payload) + " is no JSON", `set format as the device writes it: "number" or "lines"`}
	}
	if t.Each != "" {
		elements, ok := lookup(value, t.Each).([]any)
		if !ok {
			return missing("each", t.Each, "an array", value, arraysIn(value))
		}
		if len(elements) == 0 {
			return fault{}
		}
		value = elements[0]
	}
	found := lookup(value, t.Pointer)
	if list, ok := found.([]any); ok && len(list) > 0 {
		found = list[0]
	}
	switch found := found.(type) {
	case json.Number:
	case nil:
		if has(value, t.Pointer) {
			return fault{fmt.Sprintf("%q is null: the device has no reading", t.Pointer), "look at the device"}
		}
		return missing("pointer", t.Pointer, "a number", value, numbersIn(value))
	case bool, map[string]any, []any:
		return missing("pointer", t.Pointer, "a number", value, numbersIn(value))
	case string:
		if _, err := strconv.ParseFloat(strings.TrimSpace(found), 64); err != nil {
			return fault{fmt.Sprintf("%q is the text %s, not a number", t.Pointer, excerpt([]byte(found))), pointerCure("pointer", t.Pointer, numbersIn(value))}
		}
	}
	if t.Time == "" {
		return fault{}
	}
	switch when := lookup(value, t.Time).(type) {
	case json.Number:
		return examineTime(t, when.String())
	case string:
		return examineTime(t, when)
	}
	return missing("time", t.Time, "a time", value, timesIn(value))
}

// missing says that a pointer leads nowhere, what there is, and what is near.
func missing(key, pointer, what string, value any, there []string) fault {
	shape, _ := json.Marshal(value) // what was decoded can be encoded
	return fault{fmt.Sprintf("%s = %q leads to no %s in %s", key, pointer, strings.TrimPrefix(strings.TrimPrefix(what, "an "), "a "), excerpt(shape)), pointerCure(key, pointer, there)}
}

func pointerCure(key, pointer string, there []string) string {
	_, last := cutLast(pointer)
	for _, p := range there {
		if _, l := cutLast(p); strings.EqualFold(l, last) {
			return fmt.Sprintf("did you mean %s = %q?", key, p)
		}
	}
	const least = len("/rms") // any letter is near another
	near := config.Nearest(pointer, there)
	switch {
	case len(there) == 0:
		return "look at what the device sends"
	case len(there) == 1:
		near = there[0]
	case len(pointer) < least:
		near = ""
	}
	if near != "" {
		return fmt.Sprintf("did you mean %s = %q?", key, near)
	}
	return "there is " + shortList(there)
}

// excerpt is the beginning of a payload, quoted where it cannot be printed.
func excerpt(payload []byte) string {
	const most = 80
	end := ""
	if len(payload) > most {
		payload, end = payload[:most], "…"
		for len(payload) > most-utf8.UTFMax && !utf8.Valid(payload) {
			payload = payload[:len(payload)-1]
		}
	}
	if s := string(payload); strconv.CanBackquote(s) {
		return strings.TrimSpace(s) + end
	}
	return strconv.Quote(string(payload)) + end
}
