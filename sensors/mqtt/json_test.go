package mqtt

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"tocsin/sensors"
)

// arrival is when the messages of these tests arrive.
var arrival = time.Date(2026, 11, 23, 6, 0, 0, 0, time.UTC).UnixNano()

// bench decodes without a broker.
type bench struct {
	*decoder
	queue *sensors.Queue
}

func newBench(t testing.TB, most int, topics ...Topic) *bench {
	t.Helper()
	s, err := New(Options{Broker: "tcp://127.0.0.1:1", ClientID: "bench", Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	q := sensors.NewQueue(2, 64, most)
	w, err := q.Writer("mqtt", s.Channels())
	if err != nil {
		t.Fatal(err)
	}
	s.attach(w)
	return &bench{s.decoder, q}
}

// reading is a sample with the name of its channel and its time since arrival.
type reading struct {
	Channel string
	Value   float64
	After   time.Duration
}

func (b *bench) read(topic, payload string) (got []reading, refused map[string]int) {
	rt := b.routes.of([]byte(topic))
	if rt == nil {
		return nil, nil
	}
	b.decode(rt, []byte(payload), arrival)
	names := map[sensors.ChannelID]string{}
	for name, id := range b.routes.ids {
		names[id] = name
	}
	for _, s := range b.samples {
		got = append(got, reading{names[s.Channel], s.Value, time.Duration(s.Time - arrival)})
	}
	for reason, n := range b.refused {
		if n > 0 {
			if refused == nil {
				refused = map[string]int{}
			}
			refused[sensors.Reason(reason).String()] = n
		}
	}
	return got, refused
}

func TestDecode(t *testing.T) {
	x := Topic{Topic: "a", Pointer: "/x", Channel: "m.x"}
	with := func(t Topic, change func(*Topic)) Topic { change(&t); return t }
	at := func(format string) Topic {
		return with(x, func(t *Topic) { t.Time, t.TimeFormat = "/t", format })
	}
	each := Topic{Topic: "a", Each: "/all", Pointer: "/v", Time: "/t", TimeFormat: "unix", Channel: "m.each"}
	one := func(v float64) []reading { return []reading{{"m.x", v, 0}} }
	refuse := func(reason string, n int) map[string]int { return map[string]int{reason: n} }
	deep := func(n int) string { return `{"x":1,"d":` + strings.Repeat("[", n-1) + strings.Repeat("]", n-1) + `}` }

	for _, c := range []struct {
		name    string
		topics  []Topic
		payload string
		want    []reading
		refused map[string]int
	}{
		{"number", []Topic{x}, `{"x":1.5}`, one(1.5), nil},
		{"blanks", []Topic{x}, " {\t\"x\" :\r\n -2e1 } ", one(-20), nil},
		{"true", []Topic{x}, `{"x":true}`, one(1), nil},
		{"false", []Topic{x}, `{"x":false}`, one(0), nil},
		{"number in a string", []Topic{x}, `{"x":"+23.5 "}`, one(23.5), nil},
		{"no number in a string", []Topic{x}, `{"x":"23,5"}`, nil, refuse("malformed", 1)},
		{"null", []Topic{x}, `{"x":null}`, nil, refuse("bad_quality", 1)},
		{"missing", []Topic{x}, `{"y":1}`, nil, refuse("malformed", 1)},
		{"an object", []Topic{x}, `{"x":{"y":1}}`, nil, refuse("malformed", 1)},
		{"NaN beside a good one", []Topic{x, {Topic: "a", Pointer: "/y", Channel: "m.y"}}, `{"x":2,"y":NaN}`, one(2), refuse("not_finite", 1)},
		{"infinite", []Topic{x}, `{"x":-Infinity}`, nil, refuse("not_finite", 1)},
		{"too large a number", []Topic{x}, `{"x":1e999}`, nil, refuse("not_finite", 1)},
		{"too large when scaled", []Topic{with(x, func(t *Topic) { t.Scale = 1e300 })}, `{"x":1e300}`, nil, refuse("not_finite", 1)},
		{"scale and offset", []Topic{with(x, func(t *Topic) { t.Scale, t.Offset = 0.5, -40 })}, `{"x":100}`, one(10), nil},
		{"garbage behind", []Topic{x}, `{"x":1}}`, nil, refuse("malformed", 1)},
		{"cut short", []Topic{x}, `{"x":1,"y":"`, nil, refuse("malformed", 1)},
		{"nothing", []Topic{x}, ``, nil, refuse("malformed", 1)},
		{"not JSON where nobody looks", []Topic{x}, `{"x":1,"y":[01]}`, nil, refuse("malformed", 1)},
		{"twice the same key", []Topic{x}, `{"x":1,"x":2}`, nil, refuse("malformed", 1)},
		{"a key with an escape", []Topic{x}, `{"\u0078":3}`, one(3), nil},
		{"not UTF-8", []Topic{x}, "{\"x\":1,\"y\":\"\xff\"}", nil, refuse("malformed", 1)},
		{"deepest", []Topic{x}, deep(16), one(1), nil},
		{"too deep", []Topic{x}, deep(17), nil, refuse("too_large", 1)},
		{"long key", []Topic{x}, `{"x":1,"` + strings.Repeat("k", 257) + `":2}`, nil, refuse("too_large", 1)},
		{"a pointer with escapes", []Topic{with(x, func(t *Topic) { t.Pointer = "/a~1b/~01/0" })}, `{"a/b":{"~1":[7]}}`, one(7), nil},
		{"the whole payload", []Topic{with(x, func(t *Topic) { t.Format, t.Pointer = "json", "" })}, `"4"`, one(4), nil},
		{"by index", []Topic{with(x, func(t *Topic) { t.Pointer = "/1/x" })}, `[0,{"x":9},2]`, one(9), nil},
		{"two rows, one pointer", []Topic{x, with(x, func(t *Topic) { t.Channel, t.Scale = "m.k", 2 })}, `{"x":3}`, []reading{{"m.x", 3, 0}, {"m.k", 6, 0}}, nil},

		{"array", []Topic{with(x, func(t *Topic) { t.Interval = time.Second })}, `{"x":[1,"2",3]}`,
			[]reading{{"m.x", 1, -2 * time.Second}, {"m.x", 2, -time.Second}, {"m.x", 3, 0}}, nil},
		{"a hole in an array", []Topic{with(x, func(t *Topic) { t.Interval = time.Second })}, `{"x":[1,null,3]}`,
			[]reading{{"m.x", 1, -2 * time.Second}, {"m.x", 3, 0}}, refuse("bad_quality", 1)},
		{"an array in an array", []Topic{x}, `{"x":[1,[2],3]}`, nil, refuse("malformed", 1)},
		{"an array and one of it", []Topic{x, {Topic: "a", Pointer: "/x/1", Channel: "m.second"}}, `{"x":[5,6]}`,
			[]reading{{"m.x", 5, 0}, {"m.x", 6, 0}, {"m.second", 6, 0}}, nil},
		{"no readings", []Topic{x}, `{"x":[]}`, nil, nil},

		{"each", []Topic{each}, `{"all":[{"t":1763877600,"v":1},{"v":2,"t":1795413599.5}]}`,
			[]reading{{"m.each", 1, time.Unix(1763877600, 0).Sub(time.Unix(0, arrival))}, {"m.each", 2, -500 * time.Millisecond}}, nil},
		{"each without one's time", []Topic{each}, `{"all":[{"v":1},{"t":1795413600,"v":2}]}`, []reading{{"m.each", 2, 0}}, refuse("bad_time", 1)},
		{"each without one's value", []Topic{each}, `{"all":[{},{"t":1795413600,"v":2}]}`, []reading{{"m.each", 2, 0}}, refuse("malformed", 1)},
		{"each is no array", []Topic{each}, `{"all":{"v":1}}`, nil, refuse("malformed", 1)},
		{"each is missing", []Topic{each, x}, `{"x":1}`, one(1), refuse("malformed", 1)},
		{"each beside others", []Topic{x, each}, `{"all":[{"t":1795413600,"v":2}],"x":1}`, []reading{{"m.each", 2, 0}, {"m.x", 1, 0}}, nil},
		{"garbage behind each", []Topic{each}, `{"all":[{"t":1795413600,"v":2}]`, nil, refuse("malformed", 1)},

		{"time before the value", []Topic{at("rfc3339")}, `{"t":"2026-11-23T07:00:01+01:00","x":1}`, []reading{{"m.x", 1, time.Second}}, nil},
		{"time behind the value", []Topic{at("unix_ms")}, `{"x":1,"t":1795413600250}`, []reading{{"m.x", 1, 250 * time.Millisecond}}, nil},
		{"time as .NET escapes it", []Topic{at("rfc3339")}, `{"t":"2026-11-23T07:00:00\u002B01:00","x":1}`, one(1), nil},
		{"a layout", []Topic{at("02.01.2006 15:04:05 MST")}, `{"t":"23.11.2026 06:00:02 UTC","x":1}`, []reading{{"m.x", 1, 2 * time.Second}}, nil},
		{"microseconds in a string", []Topic{at("unix_us")}, `{"t":"1795413600000001","x":1}`, []reading{{"m.x", 1, time.Microsecond}}, nil},
		{"nanoseconds", []Topic{at("unix_ns")}, `{"t":1795413600000000007,"x":1}`, []reading{{"m.x", 1, 7}}, nil},
		{"a bad time", []Topic{at("rfc3339")}, `{"t":"2026-02-30T00:00:00Z","x":[1,2]}`, nil, refuse("bad_time", 2)},
		{"no time", []Topic{at("rfc3339")}, `{"x":1}`, nil, refuse("bad_time", 1)},

		{"plain number", []Topic{{Topic: "a", Channel: "m.x"}}, " 23.5\n", one(23.5), nil},
		{"plain nonsense", []Topic{{Topic: "a", Channel: "m.x"}}, "ERR", nil, refuse("malformed", 1)},
		{"plain hexadecimal", []Topic{{Topic: "a", Channel: "m.x"}}, "0x10p1", nil, refuse("malformed", 1)},
		{"plain inf", []Topic{{Topic: "a", Channel: "m.x"}}, "-inf", nil, refuse("not_finite", 1)},

		{"lines", []Topic{{Topic: "a", Format: "lines", Channel: "m.{name}", TimeFormat: "unix"}}, "x 1\r\n\n y\t2  1795413601\nz\nx nan\nx 3 soon\n",
			[]reading{{"m.x", 1, 0}, {"m.y", 2, time.Second}}, map[string]int{"malformed": 1, "not_finite": 1, "bad_time": 1}},
		{"one name of the lines", []Topic{{Topic: "a", Format: "lines", Name: "y", Channel: "m.y"}}, "x 1\ny 2", []reading{{"m.y", 2, 0}}, nil},
		{"all formats at once", []Topic{{Topic: "a", Channel: "m.plain"}, {Topic: "#", Format: "json", Channel: "m.json"}}, "5", []reading{{"m.json", 5, 0}, {"m.plain", 5, 0}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, 100, c.topics...)
			for range 2 { // the second time over what the first has remembered
				got, refused := b.read("a", c.payload)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("readings (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.refused, refused); diff != "" {
					t.Errorf("refused (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// Readings say whether their time is the device's, also where that is the time
// of arrival.
func TestWhoseTime(t *testing.T) {
	own := strconv.FormatInt(arrival, 10)
	for _, c := range []struct {
		topic   Topic
		payload string
		want    sensors.Quality
	}{
		{Topic{Pointer: "/x"}, `{"x":1}`, sensors.Good},
		{Topic{Pointer: "/x", Time: "/t", TimeFormat: "unix_ns"}, `{"x":1,"t":` + own + `}`, sensors.DeviceTime},
		{Topic{Each: "/all", Pointer: "/x", Time: "/t", TimeFormat: "unix_ns"}, `{"all":[{"x":1,"t":` + own + `}]}`, sensors.DeviceTime},
		{Topic{Format: "number"}, `1`, sensors.Good},
		{Topic{Format: "lines", Name: "x", TimeFormat: "unix_ns"}, "x 1", sensors.Good},
		{Topic{Format: "lines", Name: "x", TimeFormat: "unix_ns"}, "x 1 " + own, sensors.DeviceTime},
	} {
		c.topic.Topic, c.topic.Channel = "a", "m.x"
		b := newBench(t, 4, c.topic)
		if _, refused := b.read("a", c.payload); len(b.samples) != 1 || b.samples[0].Quality != c.want {
			t.Errorf("%s: %v, refused %v; want quality %x", c.payload, b.samples, refused, uint32(c.want))
		}
	}
}

func TestWildcardsNameChannels(t *testing.T) {
	b := newBench(t, 4,
		Topic{Topic: "hall/+/+/state", Pointer: "/rms", Channel: "{2}.vibration", Unit: "mm/s"},
		Topic{Topic: "plc/#", Format: "lines", Channel: "{1}.{name}"})
	for _, c := range []struct{ topic, payload, channel string }{
		{"hall/3/pump1/state", `{"rms":1}`, "pump1.vibration"},
		{"hall/4/pump1/state", `{"rms":1}`, "pump1.vibration"},
		{"hall/3/pump2/state", `{"rms":1}`, "pump2.vibration"},
		{"plc/a/b", "flow 1", "a.b.flow"},
		{"plc/a/b", "level 1", "a.b.level"},
	} {
		got, refused := b.read(c.topic, c.payload)
		if len(got) != 1 || got[0].Channel != c.channel {
			t.Errorf("%s: %v, refused %v, want channel %s", c.topic, got, refused, c.channel)
		}
	}
	if n := b.queue.NumChannels(); n != 4 {
		t.Errorf("%d channels registered, want 4", n)
	}
	for topic, payload := range map[string]string{"hall/3/pump3/state": `{"rms":1}`, "plc/a/b": "more 1", "hall/3/two words/state": `{"rms":1}`} {
		if got, refused := b.read(topic, payload); got != nil || refused["unknown_channel"] != 1 {
			t.Errorf("%s beyond the bound: %v, refused %v", topic, got, refused)
		}
	}
}

const typical = `{"ts":1795413600123,"rms":2.375,"peak":7.25,"temp":41.5,"state":"running","seq":123456}`

func TestDecodeAllocatesNothing(t *testing.T) {
	for name, topics := range map[string][]Topic{
		"json": {{Topic: "a", Pointer: "/rms", Channel: "m.rms", Time: "/ts", TimeFormat: "unix_ms"},
			{Topic: "a", Pointer: "/temp", Channel: "m.temp"}},
		"number": {{Topic: "a", Channel: "m.x"}},
		"lines":  {{Topic: "a", Format: "lines", Channel: "m.{name}", TimeFormat: "rfc3339"}},
	} {
		payload := []byte(map[string]string{"json": typical, "number": "23.456789012345678", "lines": "rms 1.5 2026-11-23T07:00:00+01:00\ntemp 41\n"}[name])
		b := newBench(t, 100, topics...)
		topic := []byte("a")
		n := testing.AllocsPerRun(100, func() { b.decode(b.routes.of(topic), payload, arrival) })
		if n != 0 || len(b.samples) == 0 {
			t.Errorf("%s: %v allocations, %d samples", name, n, len(b.samples))
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	d := newBench(b, 100, Topic{Topic: "plant/pump1/state", Pointer: "/rms", Channel: "m.rms"})
	payload, topic := []byte(typical), []byte("plant/pump1/state")
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		d.decode(d.routes.of(topic), payload, arrival)
	}
}

// FuzzJSON holds the scanner against encoding/json: the same payloads are JSON,
// and the number at the pointer is the same.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{typical, `[1,{"x":[2,3]}]`, `{"x":{"y":"1e3"},"\u0078":null}`, `{"x":-0.0e-7}`, `"\ud83d\ude00\ud83d"`, `{"x":NaN}`, `[[[[[]]]]]`, `{"x":123456789012345678901234567890}`} {
		f.Add([]byte(s))
	}
	b := newBench(f, 10, Topic{Topic: "a", Pointer: "/x", Channel: "m.x"}, Topic{Topic: "a", Pointer: "/x/0", Channel: "m.first"},
		Topic{Topic: "a", Each: "/x", Pointer: "/y", Time: "/t", Channel: "m.each"})
	rt := b.routes.of([]byte("a"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b.decode(rt, payload, arrival)
		fault := b.scan(payload, rt.json)
		valid := json.Valid(payload) && utf8.Valid(payload)
		if fault == sound && !valid && !strings.Contains(string(payload), "NaN") && !strings.Contains(string(payload), "Infinity") {
			t.Fatalf("%q is not JSON", payload)
		}
		if fault != sound {
			if fault == malformed && valid && !twice(payload) {
				t.Fatalf("%q is JSON", payload)
			}
			return
		}
		var v struct{ X json.RawMessage }
		m := map[string]json.RawMessage{}
		if json.Unmarshal(payload, &m) != nil {
			return
		}
		v.X = m["x"]
		want, err := strconv.ParseFloat(string(v.X), 64)
		b.decode(rt, payload, arrival)
		if err == nil && !math.IsInf(want, 0) && v.X[0] != 'N' && v.X[0] != 'I' {
			if len(b.samples) == 0 || b.samples[0].Value != want {
				t.Fatalf("%q: %v, want %v", payload, b.samples, want)
			}
		}
		for _, s := range b.samples {
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Fatalf("%q: %v", payload, s)
			}
		}
	})
}

// twice reports whether some object has the key x, y or t twice.
func twice(payload []byte) bool {
	d := json.NewDecoder(strings.NewReader(string(payload)))
	type level struct {
		keys   map[string]bool
		object bool
		key    bool
	}
	stack := []level{{}}
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		top := &stack[len(stack)-1]
		if k, ok := tok.(string); ok && top.object && top.key {
			if top.keys[k] {
				return true
			}
			top.keys[k], top.key = true, false
			continue
		}
		switch tok {
		case json.Delim('{'):
			top.key = true
			stack = append(stack, level{keys: map[string]bool{}, object: true, key: true})
		case json.Delim('['):
			top.key = true
			stack = append(stack, level{})
		case json.Delim('}'), json.Delim(']'):
			stack = stack[:len(stack)-1]
		default:
			top.key = true
		}
	}
}

// FuzzText holds the decoder of plain numbers and of lines against strconv.
func FuzzText(f *testing.F) {
	for _, s := range []string{"1.5", "+.5e3", "x 1 2\ny nan", "00012", "1_000", "0x1p4", "-inf", "9007199254740993", "4.9e-324", "1e23"} {
		f.Add(s)
	}
	b := newBench(f, 1000, Topic{Topic: "a", Channel: "m.x"}, Topic{Topic: "a", Format: "lines", Channel: "m.{name}", TimeFormat: "unix"})
	f.Fuzz(func(t *testing.T, payload string) {
		b.decode(b.routes.of([]byte("a")), []byte(payload), arrival)
		for _, s := range b.samples {
			if math.IsNaN(s.Value) || math.IsInf(s.Value, 0) {
				t.Fatalf("%q: %v", payload, s)
			}
		}
		v, end, ok := parseNumber([]byte(payload), 0)
		if ok {
			want, err := strconv.ParseFloat(payload[:end], 64)
			if v != want || err != nil && !math.IsInf(v, 0) {
				t.Fatalf("%q is %v, want %v", payload[:end], v, want)
			}
		}
		if got, ok := parseText([]byte(payload)); ok && !math.IsNaN(got) {
			if want, err := strconv.ParseFloat(strings.TrimSpace(payload), 64); err == nil && got != want {
				t.Fatalf("%q is %v, want %v", payload, got, want)
			}
		}
	})
}

// FuzzTime holds the times against package time.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-11-23T06:00:00Z", "2024-02-29T23:59:60.123456789+23:59", "1795413600.25", "-1.5", "1.7e9", "9223372036", "99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ns, ok := parseRFC3339([]byte(s))
		if want, err := time.Parse(time.RFC3339Nano, s); err == nil && len(s) >= 20 && s[13] == ':' && !strings.Contains(s, ",") && want.Year() > 1678 && want.Year() < 2262 {
			if !ok || ns != want.UnixNano() {
				t.Fatalf("%q: %v %v, want %v", s, ns, ok, want.UnixNano())
			}
		}
		ns, ok = parseUnix([]byte(s), int64(time.Second))
		if want, err := strconv.ParseFloat(s, 64); ok && (err != nil || math.Abs(float64(ns)/1e9-want) > 1e-6*math.Max(1, math.Abs(want))) {
			t.Fatalf("%q: %v, want %v s", s, ns, want)
		}
		if want, err := strconv.ParseInt(s, 10, 64); err == nil && s[0] != '+' {
			if ns, ok := parseUnix([]byte(s), 1); want < math.MaxInt64-10 && want > math.MinInt64+10 && (!ok || ns != want) {
				t.Fatalf("%q: %v %v", s, ns, ok)
			}
		}
	})
}
