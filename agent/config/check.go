package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// check looks at what single values cannot show, and fills in the defaults that
// depend on other keys.
func (l *loader) check() {
	l.site()
	l.kafka()
	if _, err := parseFalseAlarms(l.config.Detect.FalseAlarms); err != nil {
		l.failErr(l.at("detect", "false_alarms"), err)
	}
	var f feeds
	l.mqtt(&f)
	l.csv(&f)
	l.simulate(&f)
	if len(l.config.MQTT)+len(l.config.CSV)+len(l.config.Simulate) == 0 && l.root.child("mqtt") == nil && l.root.child("csv") == nil &&
		l.root.child("simulate") == nil && !l.anyBroken() {
		l.fail(span{}, `say what to read: [mqtt.NAME], [csv.NAME] or [simulate.NAME], NAME being one of your own`, "there is nothing to read")
	}
	l.channels(&f)
	l.limits(&f)
	l.machines(&f)
	l.agent()
	l.uplink(&f)
	if len(l.errs) == 0 {
		l.doubts(&f)
	}
}

// names are the tables below a table keyed by name, in the order of the file.
func (l *loader) names(table string) []string {
	if n := l.root.child(table); n != nil {
		return n.names
	}
	return nil
}

func (l *loader) has(path ...string) bool {
	n := l.root.child(path...)
	return n != nil && n.kind == text
}

func (l *loader) site() {
	if l.config.Site.Device == "" {
		l.fail(l.at("site", "device"), "name this gateway, uniquely in the fleet", "[site] device is empty and the host has no name")
	}
	for _, key := range []string{"device", "enterprise", "site", "area", "line"} {
		if !l.has("site", key) {
			continue
		}
		value := l.root.child("site", key).text
		if strings.ContainsAny(value, "/") || strings.ContainsFunc(value, unicode.IsControl) || strings.TrimSpace(value) != value {
			l.fail(l.at("site", key), "the parts are joined with /; write "+strconv.Quote(strings.TrimSpace(strings.ReplaceAll(value, "/", "-"))),
				"%s = %q cannot be part of a path", key, value)
		}
	}
}

// empty reports whether a list has nothing in it, not even something broken.
func (l *loader) empty(n *node) bool {
	return n.kind == array && strings.Trim(string(l.doc.text[n.value.from:n.value.to]), "[] \t\r\n") == ""
}

// topicName is what Kafka allows (Topic.java, LEGAL_CHARS).
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// legalTopic is the cure for a name that Kafka does not allow.
func legalTopic(name string) string {
	legal := regexp.MustCompile(`[^a-zA-Z0-9._-]+`).ReplaceAllString(strings.ReplaceAll(strings.TrimSpace(name), "/", "."), "-")
	if !topicName.MatchString(legal) {
		return "use letters, digits, dot, - and _, at most 249"
	}
	return fmt.Sprintf("write %q; letters, digits, dot, - and _ are allowed", legal)
}

func (l *loader) kafka() {
	k := &l.config.Kafka
	if l.root.child("kafka") == nil {
		if !l.mayBeBroken("kafka") && (len(l.root.names) > 0 || !l.anyBroken()) {
			l.fail(span{}, "add a table [kafka] with brokers = [\"host:9092\"]", "there is no table [kafka] that says where events go")
		}
		return
	}
	if n := l.root.child("kafka", "brokers"); n != nil && l.empty(n) {
		l.fail(n.value, `name at least one: brokers = ["host:9092"]`, "brokers is an empty list")
	}
	for i, broker := range k.Brokers {
		path := []string{"kafka", "brokers", strconv.Itoa(i)}
		if !l.has(path...) {
			continue
		}
		if first := slices.Index(k.Brokers, broker); first < i {
			l.fail(l.at(path...), "remove it", "broker %s is named twice", l.shown(l.root.child(path...)))
			continue
		}
		l.address(path, broker, "9092")
	}
	for _, key := range []string{"events", "status"} {
		if l.has("kafka", key) && !topicName.MatchString(l.root.child("kafka", key).text) {
			l.fail(l.at("kafka", key), legalTopic(l.shown(l.root.child("kafka", key))), "Kafka allows no topic of the name %q", l.shown(l.root.child("kafka", key)))
		}
	}
	if k.Events == k.Status {
		l.fail(l.at("kafka", "status"), "name two topics: the status topic is compacted, which would delete events", "events and status go to the same topic %q", k.Events)
	}
	l.tls(k.TLS, []string{"kafka", "tls"})
}
