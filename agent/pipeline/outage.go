package pipeline

import (
	"log/slog"
	"regexp"
	"strings"
	"time"
)

const (
	// sayEvery is how often the log repeats that a source is still down.
	sayEvery = 10 * time.Minute
	// backAfter is how long a source must run to be called back: longer than a
	// connection to a broker that swallows packets may take to fail.
	backAfter = 15 * time.Second
)

// outage is what the log was told of a source that fails, so that a broker that
// is down for a week does not fill it. Owned by the source's supervisor.
type outage struct {
	source string
	since  time.Time // of the first failure; zero: the source is well
	said   time.Time
	text   string // of the error said last
}

// watch runs the source once and ends the outage when it stays up.
func (o *outage) watch(log *slog.Logger, run func() error) error {
	if o.since.IsZero() {
		return run()
	}
	began, over := time.Now(), make(chan struct{})
	timer := time.AfterFunc(backAfter, func() {
		defer close(over)
		log.Info("source is back", "source", o.source, "down_for", began.Sub(o.since).Round(time.Second))
		*o = outage{source: o.source}
	})
	err := run()
	if !timer.Stop() {
		<-over // o is the supervisor's own again
	}
	return err
}

// ownPort is the gateway's end of a connection: another at each try.
var ownPort = regexp.MustCompile(`:\d+->`)

// tell logs the first failure, one that says something new, and then at most one
// every sayEvery.
func (o *outage) tell(log *slog.Logger, err error) {
	now := time.Now()
	text, _, _ := strings.Cut(ownPort.ReplaceAllString(err.Error(), "->"), "\n")
	switch {
	case o.since.IsZero():
		o.since = now
		log.Warn("source is down, tried again until it is back", "source", o.source, "error", err)
	case text != o.text || now.Sub(o.said) >= sayEvery:
		log.Warn("source is still down", "source", o.source, "down_for", now.Sub(o.since).Round(time.Second), "error", err)
	default:
		return
	}
	o.said, o.text = now, text
}
