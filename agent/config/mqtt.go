package config

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The ports that a broker listens on when nobody says otherwise, by scheme.
var mqttPorts = map[string]string{"tcp": "1883", "tls": "8883", "ws": "80", "wss": "443"}

// What other programs call the four.
var mqttAliases = map[string]string{"mqtt": "tcp", "mqtts": "tls", "ssl": "tls", "tcps": "tls", "http": "ws", "https": "wss"}

func (l *loader) mqtt(f *feeds) {
	ids := map[string]string{}
	for _, name := range l.names("mqtt") {
		m, ok := l.config.MQTT[name]
		if !ok {
			continue
		}
		path := []string{"mqtt", name}
		if l.has("mqtt", name, "broker") {
			l.broker(&m, path)
		}
		l.tls(m.TLS, join(path, "tls"))
		if m.PasswordFile != "" && m.Username == "" && !l.mayBeBroken("username") {
			l.fail(l.at("mqtt", name, "password_file"), `add username = "…"`, "%s has a password without a user name", bracketed(path))
		}
		if m.ClientID == "" {
			m.ClientID = "tocsin-" + l.config.Site.Device + "-" + name
		}
		if other := ids[m.Broker+" "+m.ClientID]; other != "" {
			l.fail(l.at("mqtt", name, "client_id"), "give each its own, or leave both out", "the client id %q is that of %s on the same broker, which would end its connection", m.ClientID, other)
		}
		ids[m.Broker+" "+m.ClientID] = bracketed(path)
		if n := l.root.child("mqtt", name, "topics"); n != nil && l.empty(n) {
			l.fail(n.value, `add a row: {topic = "hall/pump1", channel = "pump1.vibration"}`, "topics is an empty list")
		}
		for i := range m.Topics {
			l.topic(&m.Topics[i], append(path[:2:2], "topics", strconv.Itoa(i)), f)
		}
		l.fedByWildcard(m.Topics, path)
		l.config.MQTT[name] = m
	}
}

// broker checks an MQTT broker's address.
func (l *loader) broker(m *MQTT, path []string) {
	at := l.at(join(path, "broker")...)
	shown := func() string { return l.shown(l.root.child(join(path, "broker")...)) }
	scheme, rest, found := strings.Cut(m.Broker, "://")
	if !found {
		rest = m.Broker
		l.fail(at, fmt.Sprintf("write %q, or tls:// where the broker is encrypted", "tcp://"+withPort(hostOf(rest), "1883")), "%q does not say how to connect", shown())
		return
	}
	u, err := url.Parse(m.Broker)
	switch {
	case strings.Contains(rest, "@"):
		l.fail(at, `write username = "…" and password_file = "…" below [`+dotted(path)+"]", "a login does not belong in an address")
	case mqttPorts[scheme] == "":
		known := []string{"tcp", "tls", "ws", "wss"}
		cure := didYouMean(scheme, known)
		if alias := mqttAliases[strings.ToLower(scheme)]; alias != "" {
			host := withPort(hostOf(rest), mqttPorts[alias])
			for _, plain := range []string{"tcp", "tls"} { // nobody has a web server on MQTT's own ports
				if strings.HasSuffix(host, ":"+mqttPorts[plain]) {
					alias = plain
				}
			}
			cure = fmt.Sprintf("write %q", alias+"://"+host)
		}
		l.fail(at, cure, "%q is no way to connect to a broker", scheme+"://")
	case err != nil:
		l.fail(at, fmt.Sprintf("write %q", scheme+"://host:"+mqttPorts[scheme]), "%q is no address", shown())
	case u.Port() == "":
		l.fail(at, fmt.Sprintf("write %q", scheme+"://"+withPort(hostOf(rest), mqttPorts[scheme])), "%q has no port", shown())
	case u.Path != "" && (scheme == "tcp" || scheme == "tls"):
		l.fail(at, fmt.Sprintf("write %q; topics are named in topics", scheme+"://"+u.Host), "%q has a path", shown())
	default:
		l.host(at, u.Hostname())
		l.port(at, u.Port())
	}
	if m.TLS != nil && (scheme == "tcp" || scheme == "ws") {
		secure := map[string]string{"tcp": "tls", "ws": "wss"}[scheme]
		l.fail(at, fmt.Sprintf("write %q", secure+"://"+withPort(strings.TrimSuffix(hostOf(rest), ":"+mqttPorts[scheme]), mqttPorts[secure])), "%s is not encrypted, so %s has no effect", scheme+"://", bracketed(join(path, "tls")))
	}
}

// hostOf is what stands before the path and after the login.
func hostOf(rest string) string {
	host, _, _ := strings.Cut(rest[strings.LastIndex(rest, "@")+1:], "/")
	return host
}

// topic checks one row and fills in its format.
func (l *loader) topic(t *Topic, path []string, f *feeds) {
	at := func(key string) span { return l.at(join(path, key)...) }
	wildcards := 0
	if l.has(join(path, "topic")...) {
		var err error
		if wildcards, err = checkFilter(t.Topic); err != nil {
			l.failErr(at("topic"), err)
			wildcards = 99 // {1} is then no second error
		}
	}
	if t.Format == "" {
		t.Format = "number"
		if l.root.child(join(path, "pointer")...) != nil || l.root.child(join(path, "each")...) != nil {
			t.Format = "json"
		}
	}
	for _, key := range []string{"pointer", "each", "time"} {
		if !l.has(join(path, key)...) {
			continue
		}
		if t.Format != "json" {
			l.fail(at(key), fmt.Sprintf("remove %s, or write format = \"json\"", key), "%s finds its place in JSON, but format is %q", key, t.Format)
		} else if err := checkPointer(l.root.child(join(path, key)...).text); err != nil {
			l.failErr(at(key), err)
		}
	}
	if t.Name != "" && t.Format != "lines" {
		l.fail(at("name"), `remove name, or write format = "lines"`, "name chooses among lines, but format is %q", t.Format)
	}
	if t.Scale == 0 {
		l.fail(at("scale"), "remove it, or write what a reading is multiplied by", "scale = 0 would make every reading %v", t.Offset)
	}
	if err := checkTimeFormat(t.TimeFormat, "rfc3339", "unix", "unix_ms", "unix_us", "unix_ns"); err != nil {
		l.failErr(at("time_format"), err)
	}
	l.unit(&t.Unit, join(path, "unit"))
	if !l.has(join(path, "channel")...) {
		return
	}
	if t.Format == "lines" && t.Name == "" && !strings.Contains(t.Channel, "{name}") {
		l.fail(at("channel"), `add name = "…" to take one line, or write {name} in channel to take all`, "every line would be read into the one channel %q", t.Channel)
	}
	l.feed(f, feed{name: t.Channel, at: at("channel"), every: t.Interval}, wildcards, t.Format == "lines")
}

// checkFilter counts the wildcards of a topic filter (MQTT 3.1.1, section 4.7).
func checkFilter(filter string) (wildcards int, err error) {
	levels := strings.Split(filter, "/")
	switch {
	case filter == "":
		return 0, curedError{"the topic is empty", `write a topic, or # for every topic`}
	case len(filter) > 256 || len(levels) > 16:
		return 0, curedError{"the topic is longer than 256 bytes or 16 levels", ""}
	case strings.Contains(filter, "://"):
		return 0, curedError{fmt.Sprintf("%q is an address, not a topic", filter), "write the topic alone; the address is in broker"}
	case strings.HasPrefix(filter, "$share/"):
		return 0, curedError{"a shared subscription gives each reader only a part of the messages", "name the topic without $share/…/"}
	case strings.ContainsRune(filter, 0):
		return 0, curedError{"the topic holds a zero byte", "remove it"}
	}
	for i, level := range levels {
		switch {
		case level == "#" && i < len(levels)-1:
			return 0, curedError{fmt.Sprintf("# in the middle of %q", filter), "# stands for all levels below and can only be the last; for one level write +"}
		case level == "#" || level == "+":
			wildcards++
		case level == "*" || level == "**" || level == "%":
			return 0, curedError{fmt.Sprintf("%s in %q is no wildcard in MQTT", level, filter), "write + for one level, # at the end for all below"}
		case places.MatchString(level):
			return 0, curedError{fmt.Sprintf("%q in %q means nothing in a topic", level, filter), "write + here, and {1} in channel for what it matched"}
		case strings.ContainsAny(level, "#+"):
			return 0, curedError{fmt.Sprintf("%q in %q mixes a wildcard with text", level, filter), "a wildcard stands alone between two slashes"}
		}
	}
	return wildcards, nil
}

// checkPointer checks a JSON Pointer (RFC 6901, section 3).
func checkPointer(p string) error {
	if p != "" && p[0] != '/' {
		return curedError{fmt.Sprintf("%q is no JSON Pointer", p), fmt.Sprintf("write %q", "/"+strings.ReplaceAll(strings.TrimPrefix(p, "$."), ".", "/"))}
	}
	for _, after := range strings.Split(p, "~")[1:] {
		if !strings.HasPrefix(after, "0") && !strings.HasPrefix(after, "1") {
			return curedError{fmt.Sprintf("%q is no JSON Pointer", p), "write ~ as ~0, and a / within a key as ~1"}
		}
	}
	if strings.Count(p, "/") > 16 {
		return curedError{"the pointer is deeper than 16 levels", ""}
	}
	return nil
}

// checkTimeFormat accepts the names and Go layouts that can tell two seconds and
// two days apart.
func checkTimeFormat(format string, names ...string) error {
	if slices.Contains(names, format) {
		return nil
	}
	t := time.Date(2021, 11, 12, 13, 14, 15, 0, time.UTC)
	for _, other := range []time.Time{t.Add(time.Second), t.AddDate(0, 0, 1)} {
		if t.Format(format) == other.Format(format) {
			cure := fmt.Sprintf("write %s, or how the moment 2006-01-02 15:04:05 would be written", strings.Replace(strings.Join(names, ", "), "unix,", "unix (seconds),", 1))
			plain := strings.NewReplacer("_", "", "-", "").Replace
			// Between the unix formats a letter is a factor of 1000: unix_s is no misspelt unix_ms.
			if near := Nearest(format, names); near != "" && (!strings.HasPrefix(near, "unix") || plain(near) == plain(strings.ToLower(format))) {
				cure = fmt.Sprintf("did you mean %q?", near)
			}
			return curedError{fmt.Sprintf("time_format %q is no way to write a time", format), cure}
		}
	}
	return nil
}
