// Package mqtt reads sensors from an MQTT 3.1.1 broker.
//
// The connection is paho's, with one thing taken out of its hands: PUBLISH
// packets are read straight out of the receive buffer (conn.go), decoded where
// they lie and offered to the detectors, without a goroutine or an allocation
// between the socket and the sample. At QoS 1 a message is acknowledged when it
// has been judged, not before; with the session that the broker keeps for the
// client id nothing acknowledged is lost and the rest is delivered again. What was
// judged but not yet acknowledged when a connection broke is judged twice.
//
// A broker keeps only so much for a client that is away or slow: Mosquitto 1,000
// messages (max_queued_messages), 20 of them on the way (max_inflight_messages).
package mqtt

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Options describe one broker and what to read from it.
type Options struct {
	Name       string                 // of the broker in the configuration, for messages
	Broker     string                 // tcp://host:1883, tls://host:8883, ws://…, wss://…
	ClientID   string                 // the broker keeps a session for it; no other client may use it
	Username   string                 // empty: anonymous, or known by certificate
	Password   func() (string, error) // asked anew at each connect; nil: none
	TLS        *tls.Config            // for tls:// and wss://; nil: the system's authorities
	QoS        int                    // 0, 1 or 2
	KeepAlive  time.Duration          // between pings, whole seconds; default 30 s
	MaxPayload int                    // bytes; default 64 KiB
	Topics     []Topic
	Log        *slog.Logger // nil: nothing is logged
}

// Topic reads one channel, or those that a wildcard finds, out of the messages
// of one topic filter.
type Topic struct {
	Topic      string        // topic or filter with + and #
	Format     string        // "json", "number" or "lines"; empty: json where Pointer or Each is set, else number
	Pointer    string        // JSON Pointer (RFC 6901) to a number or an array of numbers, relative to Each
	Each       string        // JSON Pointer to an array whose elements are read one by one
	Name       string        // lines: the name to take
	Channel    string        // name; {1}, {2} … what the wildcards matched (/ in # as .), {name} a line's name
	Unit       string        // UCUM
	Time       string        // JSON Pointer to the time of measuring, relative to Each; empty: the time of arrival
	TimeFormat string        // rfc3339 (default), unix, unix_ms, unix_us, unix_ns, or a Go layout
	Interval   time.Duration // between two numbers of an array; the last is the newest
	Scale      float64       // value = reading × Scale + Offset; 0 counts as 1
	Offset     float64
}

// Bounds on what a message may be; beyond them it is refused as too large.
const (
	mostTopicBytes  = 256
	mostTopicLevels = 16
	mostNesting     = 16      // of JSON arrays and objects
	mostKeyBytes    = 256     // of a JSON key and of a line's name
	mostNameBytes   = 128     // of a channel found by a wildcard
	mostReadings    = 1 << 16 // out of one message
	mostRoutes      = 1 << 13 // topics and line names whose decoding is remembered
)

const (
	defaultPayload   = 64 << 10
	defaultKeepAlive = 30 * time.Second
)
