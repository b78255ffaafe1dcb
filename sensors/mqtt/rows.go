package mqtt

import (
	"errors"
	"fmt"
)

// row is one Topic, checked and compiled.
type row struct {
	topic    string // as configured, for messages
	filter   filter
	format   string // json, number or lines
	pointer  []string
	each     *[]string // nil: the whole payload
	time     *[]string // nil: the time of arrival
	clock    clock
	name     string // lines: the one to take, or empty
	channel  template
	unit     string
	interval int64 // ns
	scale    float64
	offset   float64
}

func parseRow(t Topic) (*row, error) {
	r := &row{topic: t.Topic, name: t.Name, unit: t.Unit, interval: int64(t.Interval), scale: t.Scale, offset: t.Offset}
	if r.scale == 0 {
		r.scale = 1
	}
	var err error
	if r.filter, err = parseFilter(t.Topic); err != nil {
		return nil, fmt.Errorf("topic %q: %w", t.Topic, err)
	}
	if r.channel, err = parseTemplate(t.Channel, r.filter.wildcards()); err != nil {
		return nil, fmt.Errorf("topic %s: channel %q: %w", t.Topic, t.Channel, err)
	}
	if r.clock, err = parseClock(t.TimeFormat); err != nil {
		return nil, fmt.Errorf("topic %s: %w", t.Topic, err)
	}
	if err := r.parsePointers(t); err != nil {
		return nil, fmt.Errorf("topic %s: %w", t.Topic, err)
	}
	if err := r.check(t); err != nil {
		return nil, fmt.Errorf("topic %s: %w", t.Topic, err)
	}
	return r, nil
}

// scaling is scale and offset as sensors.Channel has them.
func (r *row) scaling() string {
	if r.scale == 1 && r.offset == 0 {
		return ""
	}
	return fmt.Sprintf("×%g %+g", r.scale, r.offset)
}

func (r *row) parsePointers(t Topic) (err error) {
	if r.pointer, err = parsePointer(t.Pointer); err != nil {
		return fmt.Errorf("pointer %q: %w", t.Pointer, err)
	}
	if t.Each != "" {
		each, err := parsePointer(t.Each)
		if err != nil {
			return fmt.Errorf("each %q: %w", t.Each, err)
		}
		r.each = &each
	}
	if t.Time != "" {
		at, err := parsePointer(t.Time)
		if err != nil {
			return fmt.Errorf("time %q: %w", t.Time, err)
		}
		r.time = &at
	}
	return nil
}

// check settles the format and what goes with it.
func (r *row) check(t Topic) error {
	if r.format = t.Format; r.format == "" {
		r.format = "number"
		if t.Pointer != "" || t.Each != "" {
			r.format = "json"
		}
	}
	switch {
	case r.format != "json" && r.format != "number" && r.format != "lines":
		return fmt.Errorf("format %q: write json, number or lines", t.Format)
	case r.format != "json" && (t.Pointer != "" || t.Each != "" || t.Time != ""):
		return fmt.Errorf("format %s: pointer, each and time are for json", r.format)
	case r.format == "lines" && r.name == "" && !r.channel.named():
		return errors.New("format lines: say which line with name, or write {name} in channel to take all")
	case r.format != "lines" && (r.name != "" || r.channel.named()):
		return fmt.Errorf("format %s: name and {name} are for lines", r.format)
	case t.Interval < 0:
		return errors.New("interval is negative")
	}
	return nil
}

// wanted says what the row expects of a message, for the log.
func (r *row) wanted() string {
	switch r.format {
	case "number":
		return "one number and nothing else"
	case "lines":
		if r.name != "" {
			return "lines of: " + r.name + " value [time]"
		}
		return "lines of: name value [time]"
	}
	s := "a number, or an array of numbers, at " + pointer(r.pointer)
	if r.each != nil {
		s += " in each element of the array at " + pointer(*r.each)
	}
	if r.time != nil {
		s += ", its time at " + pointer(*r.time)
	}
	return s
}
