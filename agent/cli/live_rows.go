package cli

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/config"
)

// mostRows is how many rows of a broker that are not right are told of one by
// one; nobody mends more at a time.
const mostRows = 20

// rows tells of each row that does not give readings as it should, and of the
// others in one line.
func (s *site) rows(name string, t *tap, e *ear, span time.Duration) []answer {
	var all []answer
	right, more, mark := 0, 0, good // more are not told of one by one
	for i := range t.rows {
		a := s.row(t, &t.rows[i], e, span, len(all) == mostRows)
		switch {
		case a.mark == good:
			right++
		case len(all) == mostRows:
			more++
			if mark != wrong {
				mark = a.mark
			}
		default:
			a.what = s.cfg.Where("mqtt", name, "topics", strconv.Itoa(i), "topic") + " " + t.rows[i].row.Topic
			all = append(all, a)
		}
	}
	if more > 0 {
		all = append(all, answer{mark: mark, what: "mqtt." + name, said: plural(more, "more row") + " like these"})
	}
	if right > 0 {
		all = append(all, answer{mark: good, what: "mqtt." + name, said: plural(right, "row") + ", " + plural(len(e.channels), "channel") + ": readings arrive"})
	}
	return all
}

// row is the answer of one row, without its place; brief leaves out the cure
// that takes a while to find.
func (s *site) row(t *tap, r *tapped, e *ear, span time.Duration, brief bool) answer {
	t.mu.Lock()
	defer t.mu.Unlock()
	heard := e.of(r.row)
	switch {
	case r.refused:
		return answer{mark: wrong, said: "the broker refuses this topic", cure: "allow this user to subscribe to it in the broker's access list (ACL)"}
	case len(heard) == 0 && r.messages == 0 && brief:
		return answer{mark: wrong}
	case len(heard) == 0 && r.messages == 0:
		return answer{mark: wrong, said: "nothing arrived in " + config.Duration(span).String(), cure: silenceCure(r.row.Topic, t.topics)}
	case len(heard) == 0 && r.fault.said == "":
		return answer{mark: wrong, said: "messages arrive, readings do not", cure: "the agent's log says what it refuses"}
	case len(heard) == 0:
		return answer{mark: wrong, said: r.fault.said, cure: r.fault.cure}
	}
	for _, channel := range sortedKeys(heard) {
		if a := s.plausible(channel, heard[channel]); a.mark != good {
			return a
		}
	}
	if r.fault.said != "" && e.refused != nil {
		return answer{mark: odd, said: "some messages give no reading. " + r.fault.said, cure: r.fault.cure}
	}
	return answer{mark: good}
}

// silenceCure is about a topic on which nothing arrives.
func silenceCure(filter string, topics map[string][]int) string {
	if near := nearestTopic(filter, topics); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if there := arrived(filter, topics); len(there) > 0 {
		return "messages do arrive on " + shortList(there)
	}
	return "if the device sends more seldom, listen longer: --for 2m; else check that it runs, and that the broker's access list (ACL) lets this user read"
}

// plausible compares the last reading with what the configuration says of the
// sensor, and its time with the gateway's.
func (s *site) plausible(channel string, r *reading) answer {
	value := alarms.Number(r.last.Value)
	said := fmt.Sprintf("%s reads %s", channel, value)
	sensor, limit := s.cfg.Channel[channel], s.cfg.Limit[channel]
	switch v := r.last.Value; {
	case v < or(sensor.RangeLow, math.Inf(-1)):
		return answer{mark: wrong, said: said + ", below range_low = " + alarms.Number(*sensor.RangeLow), cure: "check scale, offset and unit of the row, or the range: " + s.cfg.Where("channel", channel, "range_low")}
	case v > or(sensor.RangeHigh, math.Inf(1)):
		return answer{mark: wrong, said: said + ", above range_high = " + alarms.Number(*sensor.RangeHigh), cure: "check scale, offset and unit of the row, or the range: " + s.cfg.Where("channel", channel, "range_high")}
	case v < math.Max(or(limit.Low, math.Inf(-1)), or(limit.LowLow, math.Inf(-1))), v > math.Min(or(limit.High, math.Inf(1)), or(limit.HighHigh, math.Inf(1))):
		return answer{mark: odd, said: said + ", beyond a limit: it will alarm at once", cure: "check the machine; then scale and unit of the row, and the limits: " + s.cfg.Where("limit", channel)}
	}
	const usual = time.Minute // a gateway without NTP, a device that gathers
	if late := r.arrived.Sub(time.Unix(0, r.last.Time)); late.Abs() > usual && !r.retained {
		direction := "behind"
		if late < 0 {
			direction = "ahead of"
		}
		return answer{mark: odd, said: fmt.Sprintf("the times of %s are %s %s the gateway's clock", channel, rough(late.Abs()), direction),
			cure: "check time and time_format of the row, its zone, and both clocks"}
	}
	return answer{mark: good}
}

// rough is a duration in the unit that a person would use.
func rough(d time.Duration) string {
	const year = 365 * 24 * time.Hour
	switch {
	case d >= 2*year:
		return fmt.Sprintf("%d years", d/year)
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Second).String()
}
