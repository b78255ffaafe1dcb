package mqtt

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"tocsin/sensors"
)

// routes knows for each topic seen what to read from its messages. It remembers
// a bounded number of them; the others are worked out for each message anew.
type routes struct {
	rows     []*row
	out      *sensors.Writer
	channels []sensors.Channel
	ids      map[string]sensors.ChannelID // of all channels, those of Channels() first
	topics   map[string]*route
	scopes   map[string]*scope // by the rows that they are for
	names    int               // remembered in all routes
}

// route is what to read from the messages of one topic.
type route struct {
	bindings []binding // of the rows that read JSON; json refers to them by index
	json     *scope
	scanned  int       // how many they are
	numbers  []binding // of those that read one number
	liners   []liner   // of those that read lines
	names    map[string][]binding
}

// binding is a row and the channel that it fills; unknown says that there was no
// room for the channel, or that it has no possible name.
type binding struct {
	row     *row
	id      sensors.ChannelID
	unknown bool
}

// liner is a row that reads lines, with what its wildcards stood for.
type liner struct {
	row  *row
	wild []string
}

func newRoutes(rows []*row) *routes {
	rs := &routes{rows: rows}
	rs.attach(nil)
	return rs
}

// attach forgets all channels but the literal ones, which another Writer knows
// by the same numbers.
func (rs *routes) attach(out *sensors.Writer) {
	rs.out, rs.channels, rs.names = out, nil, 0
	rs.ids = map[string]sensors.ChannelID{}
	rs.topics = map[string]*route{}
	rs.scopes = map[string]*scope{}
	for _, r := range rs.rows {
		name, ok := r.channel.literal()
		if _, known := rs.ids[name]; ok && !known {
			rs.ids[name] = sensors.ChannelID(len(rs.channels))
			rs.channels = append(rs.channels, sensors.Channel{Name: name, Unit: r.unit, Scaling: r.scaling()})
		}
	}
}

// of gives the route of a topic, nil when no row reads it. It allocates only for
// a topic that it has not seen before.
func (rs *routes) of(topic []byte) *route {
	rt, known := rs.topics[string(topic)]
	if known {
		return rt
	}
	rt = rs.find(string(topic))
	if len(rs.topics) < mostRoutes {
		rs.topics[string(topic)] = rt
	}
	return rt
}

func (rs *routes) find(topic string) *route {
	if !utf8.ValidString(topic) {
		return nil
	}
	var rt *route
	var key strings.Builder
	var scanned []*row
	for i, r := range rs.rows {
		wild, ok := r.filter.match(topic)
		if !ok {
			continue
		}
		if rt == nil {
			rt = &route{}
		}
		switch r.format {
		case "json":
			rt.bindings = append(rt.bindings, rs.bind(r, wild, ""))
			scanned = append(scanned, r)
			key.WriteString(strconv.Itoa(i))
			key.WriteByte(',')
		case "number":
			rt.numbers = append(rt.numbers, rs.bind(r, wild, ""))
		case "lines":
			rt.liners = append(rt.liners, liner{r, wild})
		}
	}
	if len(scanned) > 0 {
		rt.json, rt.scanned = rs.scope(key.String(), scanned), len(scanned)
	}
	return rt
}

// scope compiles the rows together, once for all topics that they are for.
func (rs *routes) scope(key string, rows []*row) *scope {
	sc := rs.scopes[key]
	if sc == nil {
		sc = &scope{}
		for i, r := range rows {
			sc.add(r, i)
		}
		if len(rs.scopes) < mostRoutes {
			rs.scopes[key] = sc
		}
	}
	return sc
}

// line gives what to do with a line of that name.
func (rs *routes) line(rt *route, name []byte) []binding {
	found, known := rt.names[string(name)]
	if known {
		return found
	}
	for _, l := range rt.liners {
		if l.row.name == "" || l.row.name == string(name) {
			found = append(found, rs.bind(l.row, l.wild, string(name)))
		}
	}
	if rs.names < mostRoutes {
		if rt.names == nil {
			rt.names = map[string][]binding{}
		}
		rt.names[string(name)] = found
		rs.names++
	}
	return found
}

// bind finds the row's channel, registering it when it is new.
func (rs *routes) bind(r *row, wild []string, name string) binding {
	b := binding{row: r}
	channel, ok := r.channel.fill(wild, name)
	if !ok {
		b.unknown = true
		return b
	}
	id, known := rs.ids[channel]
	if !known {
		var err error
		if id, err = rs.out.Register(sensors.Channel{Name: channel, Unit: r.unit, Scaling: r.scaling()}); err != nil {
			b.unknown = true
			return b
		}
		rs.ids[channel] = id
	}
	b.id = id
	return b
}
