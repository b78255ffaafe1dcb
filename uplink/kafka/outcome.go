package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"tocsin/uplink"
)

// remedy is what an error means for a batch.
type remedy struct {
	result uplink.Result
	// unknown: the broker may have stored the batch all the same.
	unknown bool
	// stale: the picture of the cluster is wrong; it is asked for at once.
	stale bool
	cure  string // {topic} stands for the topic's name
}

// Cures that several errors share.
const (
	missingCure = "create it with: tocsin topics create (or correct [kafka] events)"
	aclCure     = "ask Kafka's administrator for the rights that tocsin topics check lists for topic {topic}"
	loginCure   = "check username, password_file and mechanism in [kafka] sasl"
	leaderCure  = "if this lasts, ask Kafka's administrator: a partition of {topic} has no leader, too few brokers run"
	networkCure = "check the network, and that [kafka] brokers names host and port of a running broker; if it runs, its port may expect tls or sasl"
	closedCure  = "if this lasts: the broker's port may expect TLS or a log-in; see tls and sasl in [kafka]"
	plainCure   = "if this lasts: this port of the broker may not be encrypted (remove tls from [kafka]), or the broker asks for a log-in (see sasl in [kafka])"
	showCure    = "the broker asks for a certificate: set cert and key in [kafka] tls"
	refusedCure = "the broker refuses this gateway's certificate: check cert and key in [kafka] tls, and their dates"
	requestCure = "the cluster refuses tocsin's requests: it must run Kafka 2.1 or later"
)

// remedies is by Kafka's error codes (protocol guide, "Error Codes"). A code
// that is not listed passes: it is sent again, and may have been stored.
//
// A leader may lose its place after it wrote a batch and before the replicas
// have it. So its answers [3], [5] and [6] say nothing of whether the batch was
// stored; [19] comes before writing, [20] after.
var remedies = map[kafkago.Error]remedy{
	2:  {result: uplink.Again},                                                     // damaged on the way
	3:  {result: uplink.Hold, unknown: true, stale: true, cure: missingCure},       // unknown topic or partition
	5:  {result: uplink.Again, unknown: true, stale: true, cure: leaderCure},       // leader not available
	6:  {result: uplink.Again, unknown: true, stale: true, cure: leaderCure},       // not the leader
	7:  {result: uplink.Again, unknown: true},                                      // timed out at the broker
	8:  {result: uplink.Again, unknown: true, stale: true, cure: leaderCure},       // broker not available
	9:  {result: uplink.Again, unknown: true, stale: true, cure: leaderCure},       // replica not available
	10: {result: uplink.TooLarge},                                                  // larger than max.message.bytes
	13: {result: uplink.Again, unknown: true, stale: true},                         // disconnected
	14: {result: uplink.Again},                                                     // coordinator is loading
	15: {result: uplink.Again},                                                     // coordinator not available
	16: {result: uplink.Again},                                                     // not the coordinator
	17: {result: uplink.Hold, cure: "correct the name in [kafka] events: {topic}"}, // invalid topic
	18: {result: uplink.TooLarge},                                                  // larger than a log segment
	19: {result: uplink.Again, cure: "if this lasts, ask Kafka's administrator: fewer replicas of {topic} are in sync than min.insync.replicas asks for"},
	20: {result: uplink.Again, unknown: true, cure: "if this lasts, ask Kafka's administrator: fewer replicas of {topic} are in sync than min.insync.replicas asks for"},
	21: {result: uplink.Hold, cure: requestCure}, // invalid acks
	29: {result: uplink.Hold, cure: aclCure},     // topic authorization failed
	30: {result: uplink.Hold, cure: aclCure},     // group authorization failed
	31: {result: uplink.Hold, cure: aclCure},     // cluster authorization failed
	32: {result: uplink.Hold, cure: "the gateway's clock is wrong: set it (NTP), or create the topic with message.timestamp.type=LogAppendTime"},
	33: {result: uplink.Hold, cure: "the broker does not offer this way to log in: correct mechanism in [kafka] sasl"},
	34: {result: uplink.Hold, cure: closedCure},  // not logged in
	35: {result: uplink.Hold, cure: requestCure}, // unsupported version
	38: {result: uplink.Hold, cure: "fewer brokers run than copies were asked for: where there is one broker, give --replicas 1"},
	42: {result: uplink.Hold, cure: requestCure}, // invalid request
	43: {result: uplink.Hold, cure: requestCure}, // unsupported for message format
	44: {result: uplink.Hold, cure: "the cluster's policy refuses it: ask Kafka's administrator"},
	45: {result: uplink.NewProducer},         // a gap before the sequence
	46: {result: uplink.Acknowledged},        // stored long ago (as Java's client takes it)
	47: {result: uplink.NewProducer},         // invalid producer epoch
	48: {result: uplink.NewProducer},         // invalid transaction state
	49: {result: uplink.NewProducer},         // invalid producer id mapping
	53: {result: uplink.Hold, cure: aclCure}, // transactional id authorization failed
	54: {result: uplink.Hold, cure: "the broker has security switched off: remove sasl from [kafka]"},
	56: {result: uplink.Again, unknown: true, stale: true, cure: "if this lasts, ask Kafka's administrator: a broker's disk fails"},
	58: {result: uplink.Hold, cure: loginCure},             // log-in failed
	59: {result: uplink.NewProducer},                       // the producer is forgotten
	74: {result: uplink.Again, unknown: true, stale: true}, // fenced leader epoch
	75: {result: uplink.Again, unknown: true, stale: true}, // unknown leader epoch
	76: {result: uplink.Hold, cure: "the cluster does not take this compression: choose another codec in [kafka]"},
	87: {result: uplink.NewProducer, cure: "if this lasts: {topic} must have cleanup.policy=delete; see tocsin topics check"}, // invalid record
	89: {result: uplink.Again, cure: "the cluster throttles this gateway: its quota is used up"},
	90: {result: uplink.NewProducer}, // producer fenced
}

// door is how the gateway comes to a broker: the same refusal has another cure
// behind each.
type door struct {
	tls  bool
	cert bool // a certificate of its own is shown
}

func (o Options) door() door {
	if o.TLS == nil {
		return door{}
	}
	c := o.TLS(o.Brokers[0])
	return door{tls: true, cert: c.GetClientCertificate != nil || len(c.Certificates) > 0}
}

// judge says what an error means, whatever its shape, and whether it shows the
// picture of the cluster to be wrong. Whether a request that got no answer was
// sent only the caller knows.
func judge(err error, topic string, d door) (out uplink.Outcome, stale bool) {
	r := remedyFor(err, d)
	if r.result == uplink.Acknowledged {
		return uplink.Outcome{}, false
	}
	if isMissing(err) {
		err = missing{err}
	}
	return uplink.Outcome{
		Result:  r.result,
		Err:     err,
		Cure:    strings.ReplaceAll(r.cure, "{topic}", topic),
		Unknown: r.unknown,
	}, r.stale
}

// remedyFor finds the remedy. kafka-go wraps a broker's code, a protocol error
// of its own, or what the network, TLS or SASL said; several deep.
func remedyFor(err error, d door) remedy {
	var code kafkago.Error
	var credential credentialError
	var dns *net.DNSError
	var dial *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &code):
		if r, ok := remedies[code]; ok {
			return r
		}
		return remedy{result: uplink.Again, unknown: true, stale: true}
	case errors.Is(err, protocol.ErrNoTopic), errors.Is(err, protocol.ErrNoPartition):
		return remedies[kafkago.UnknownTopicOrPartition]
	case errors.Is(err, protocol.ErrNoLeader):
		return remedies[kafkago.LeaderNotAvailable]
	case errors.As(err, &credential):
		return remedy{result: uplink.Hold, stale: true, cure: loginCure}
	case isTLS(err):
		return remedy{result: uplink.Hold, stale: true, cure: tlsCure(err, d)}
	case errors.As(err, &dns):
		return remedy{result: uplink.Again, stale: true, cure: "check the name of the broker and the gateway's DNS"}
	case errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &timeout) && timeout.Timeout():
		return remedy{result: uplink.Again, stale: true, cure: networkCure}
	}
	return remedy{result: uplink.Again, stale: true, cure: d.closed()} // reset, closed, garbled
}

// closed is the cure where a broker ends the connection without a word.
func (d door) closed() string {
	switch {
	case !d.tls:
		return closedCure
	case !d.cert:
		return plainCure + " or for a certificate (set cert and key in tls)"
	}
	return plainCure
}

// bare takes off what kafka-go puts before every error: the name of its method.
func bare(err error) error {
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), "kafka.(*Client)") {
		return inner
	}
	return err
}

// missing marks an error as uplink.ErrMissing without changing its words.
type missing struct{ error }

func (m missing) Unwrap() []error { return []error{m.error, uplink.ErrMissing} }

func isMissing(err error) bool {
	return errors.Is(err, kafkago.UnknownTopicOrPartition) || errors.Is(err, protocol.ErrNoTopic) || errors.Is(err, protocol.ErrNoPartition)
}

// isTLS tells errors of TLS, which the network's own passing ones are not. What
// the other side says in an alert has no exported type.
func isTLS(err error) bool {
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	if errors.As(err, &record) || errors.As(err, &verify) {
		return true
	}
	text := err.Error()
	return strings.Contains(text, "tls: ") || strings.Contains(text, "x509: ") || strings.Contains(text, "expecting TLS")
}

func tlsCure(err error, d door) string {
	var record tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	text := err.Error()
	switch {
	case errors.As(err, &record):
		return "this port of the broker does not speak TLS: correct the port in [kafka] brokers, or remove tls"
	case strings.Contains(text, "expecting TLS"):
		return "this port of the broker expects TLS: add tls = {} to [kafka], or correct the port in brokers"
	case errors.As(err, &authority):
		return "ca in [kafka] tls must be the certificate of the authority that signed the broker's"
	case errors.As(err, &host):
		return "the broker's certificate is for another name: set server_name in [kafka] tls, or use that name in brokers"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the broker's certificate is out of date, or the gateway's clock is wrong"
	case strings.Contains(text, "remote error: tls:") && !d.cert:
		return showCure
	case strings.Contains(text, "remote error: tls:"):
		return refusedCure
	}
	return "check ca, cert and key in [kafka] tls"
}
