package config

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// doubts warns of what is legal and probably not meant. It runs on a file
// without errors, so every value has its kind and every name its channel.
func (l *loader) doubts(f *feeds) {
	l.doubtDevice()
	l.doubtKafka()
	l.doubtSpool()
	for _, name := range l.names("mqtt") {
		l.doubtBroker(name)
		l.doubtTopics(name)
	}
	for _, name := range l.names("simulate") {
		if p := l.config.Simulate[name]; !p.Fault && l.root.child("simulate", name, "fault_at") != nil {
			l.warn(l.at("simulate", name, "fault_at"), "remove it, or write fault = true", "fault_at has no effect: fault is false")
		}
	}
	for _, name := range l.names("channel") {
		l.doubtChannel(name, f)
	}
	l.doubtMachines()
}

var (
	// sharedNames are the host names that images of gateways come with.
	sharedNames = []string{"localhost", "localhost.localdomain", "raspberrypi", "raspberry", "revpi", "debian", "ubuntu", "raspbian", "beaglebone",
		"beaglebone-black", "moxa", "iot2050-debian", "openwrt", "buildroot", "wago", "teltonika", "robustel", "gateway", "linux", "armbian", "dietpi", "alpine"}
	// containerID is the host name that Docker and Podman give.
	containerID = regexp.MustCompile(`^[0-9a-f]{12}$`)
)

// doubtDevice warns of a device name that is not this gateway's own.
func (l *loader) doubtDevice() {
	if l.root.child("site", "device") != nil {
		return
	}
	at, cure := l.at("site", "device"), `write device = "…" below [site]; it is part of every event's identity`
	switch host := strings.ToLower(l.hostname); {
	case slices.Contains(sharedNames, host):
		l.warn(at, cure, "device is the host name %q, which other gateways of the fleet may have too", l.hostname)
	case containerID.MatchString(host):
		l.warn(at, cure, "device is the host name %q, which a container gets anew each time it is made", l.hostname)
	}
}

func (l *loader) doubtKafka() {
	k := l.config.Kafka
	away := slices.IndexFunc(k.Brokers, func(broker string) bool {
		host, _, _ := net.SplitHostPort(broker)
		return !loopback(host)
	})
	if away < 0 || k.TLS != nil {
		return
	}
	at, cure := l.at("kafka", "brokers", strconv.Itoa(away)), "add tls = {} below [kafka], with ca = \"…\" where the plant has an authority of its own"
	switch {
	case k.SASL != nil && k.SASL.Mechanism == "PLAIN":
		l.warn(at, cure, "the password goes to %s in the clear: there is no TLS, and PLAIN hides nothing", k.Brokers[away])
	default:
		l.warn(at, cure, "events go to %s unencrypted, and whoever answers there is believed", k.Brokers[away])
	}
}

// volatile are folders that a power cut empties.
var volatile = []string{"/run", "/dev/shm", "/var/run"}

func (l *loader) doubtSpool() {
	s := l.config.Spool
	if least := Duration(100 * time.Millisecond); s.Commit < least {
		l.warn(l.at("spool", "commit"), "write \"1s\", or keep it where the disk is no flash; critical events are written at once whatever it says",
			"commit = %s writes to the disk up to %d times a second, which wears out a flash", s.Commit, time.Second/time.Duration(s.Commit))
	}
	for _, folder := range volatile {
		if strings.HasPrefix(s.Dir+"/", folder+"/") {
			l.warn(l.at("spool", "dir"), "name a folder on a disk: \"/var/lib/tocsin\"", "dir = %q is in memory: a restart loses the events that wait", s.Dir)
		}
	}
}

// doubtBroker looks at how an MQTT broker is connected to.
func (l *loader) doubtBroker(name string) {
	m, at := l.config.MQTT[name], l.at("mqtt", name, "broker")
	scheme, rest, _ := strings.Cut(m.Broker, "://")
	host, port, _ := net.SplitHostPort(hostOf(rest))
	secure := scheme == "tls" || scheme == "wss"
	if !secure && port == "8883" || scheme == "tls" && port == "1883" {
		other, meaning := "tls", "encrypted"
		if secure {
			other, meaning = "tcp", "plain"
		}
		l.warn(at, fmt.Sprintf("write %q, unless this broker is an exception", other+"://"+rest), "port %s is that of %s MQTT, but %s:// is not", port, meaning, scheme)
		return
	}
	if m.PasswordFile != "" && !secure && !loopback(host) {
		to := map[string]string{"tcp": "tls", "ws": "wss"}[scheme]
		l.warn(at, fmt.Sprintf("write %q, with ca in tls where the broker's certificate is the plant's own", to+"://"+net.JoinHostPort(host, mqttPorts[to])),
			"the password goes to %s in the clear", host)
	}
}

// doubtTopics looks at the rows of one broker.
func (l *loader) doubtTopics(name string) {
	rows := l.config.MQTT[name].Topics
	slashed := 0
	for _, t := range rows {
		if strings.HasPrefix(t.Topic, "/") {
			slashed++
		}
	}
	type number struct{ topic, format, pointer, each, name string }
	seen := map[number]int{}
	for i, t := range rows {
		at := func(key string) span { return l.at("mqtt", name, "topics", strconv.Itoa(i), key) }
		has := func(key string) bool { return l.root.child("mqtt", name, "topics", strconv.Itoa(i), key) != nil }
		switch trimmed := strings.TrimSpace(t.Topic); {
		case trimmed != t.Topic:
			l.warn(at("topic"), fmt.Sprintf("write %q, unless the sender pads its topics", trimmed), "the topic %q begins or ends with a space", t.Topic)
		case strings.HasPrefix(t.Topic, "/") && slashed <= len(rows)/4:
			l.warn(at("topic"), fmt.Sprintf("write %q if the sender does", t.Topic[1:]), "the topic %q begins with /, most others here do not: MQTT takes them for different topics", t.Topic)
		case len(t.Topic) > 1 && strings.HasSuffix(t.Topic, "/"):
			l.warn(at("topic"), fmt.Sprintf("write %q, or %q for all below", strings.TrimSuffix(t.Topic, "/"), t.Topic+"#"), "the topic %q ends with /: only messages to exactly that are read", t.Topic)
		}
		if has("time_format") && t.Time == "" && t.Format != "lines" {
			l.warn(at("time_format"), "add time = \"/…\", where the time stands in the message, or remove it", "time_format has no effect: no time is read, readings get the time of their arrival")
		}
		if t.Interval > 0 && t.Format != "json" {
			l.warn(at("interval"), "remove it", "interval has no effect: it is for arrays in JSON, and format is %q", t.Format)
		}
		key := number{t.Topic, t.Format, t.Pointer, t.Each, t.Name}
		if first, ok := seen[key]; ok && !t.Dynamic() && rows[first].Scale == t.Scale && rows[first].Offset == t.Offset {
			l.warn(at("channel"), "mend topic or pointer of one of the two, or remove it",
				"%s reads the same number as %s in %s", t.Channel, rows[first].Channel, l.lineOf(l.at("mqtt", name, "topics", strconv.Itoa(first)), at("channel")))
		} else if !ok {
			seen[key] = i
		}
	}
}

// doubtChannel looks for settings that nothing asks for, and for detectors that
// have nothing to go by.
func (l *loader) doubtChannel(name string, f *feeds) {
	c, d := l.config.Channel[name], l.config.DetectorsOf(name)
	at := func(key string) span { return l.at("channel", name, key) }
	has := func(key string) bool { return l.root.child("channel", name, key) != nil }
	for key, detector := range map[string]string{"max_rate": "rate", "stuck_after": "stuck", "silent_after": "silence"} {
		if has(key) && !d.Has(detector) {
			l.warn(at(key), fmt.Sprintf("add %q to detectors, or remove the line", detector), "%s has no effect: the detectors of the channel do not include %q", key, detector)
		}
	}
	for key, after := range map[string]Duration{"stuck_after": c.StuckAfter, "silent_after": c.SilentAfter} {
		if has(key) && after == 0 {
			l.warn(at(key), "remove the line to have it learned; to switch it off list detectors without it", "%s = \"0s\" does not switch it off: it means the default", key)
		}
	}
	if one, ok := f.of(name); ok && one.replay && c.SilentAfter > 0 {
		l.warn(at("silent_after"), "remove it, or write follow = true for a file that grows", "silent_after says nothing of the sensor: %s is replayed from a file", name)
	}
	if slices.Contains(c.Detectors.Names, "range") && c.RangeLow == nil && c.RangeHigh == nil {
		l.warn(at("detectors"), "add range_low or range_high below this header, or remove \"range\"", "\"range\" has nothing to go by: no range is given")
	}
	if _, limited := l.config.Limit[name]; slices.Contains(c.Detectors.Names, "limit") && !limited {
		l.warn(at("detectors"), fmt.Sprintf("add a table %s, or remove \"limit\"", bracketed([]string{"limit", name})), "\"limit\" has nothing to go by: no limit is set")
	}
}

// learned are the detectors whose severity a machine sets.
var learned = []string{"ewma", "robust_z", "cusum", "rate"}

func (l *loader) doubtMachines() {
	for _, name := range l.names("machine") {
		m := l.config.Machine[name]
		hears := m.Detectors.Auto || !m.Detectors.Given() || slices.ContainsFunc(learned, m.Detectors.Has)
		for channel, c := range l.config.Channel {
			hears = hears || MachineOf(channel) == name && slices.ContainsFunc(learned, c.Detectors.Has)
		}
		if m.Severity != "" && !hears {
			l.warn(l.at("machine", name, "severity"), "set severity in the tables [limit.…], or add a learned detector: "+strings.Join(learned, ", "),
				"severity has no effect: it is for learned detectors, and the machine has none")
		}
	}
}
