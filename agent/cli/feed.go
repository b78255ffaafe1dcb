package cli

import (
	"time"

	"tocsin/agent/config"
	"tocsin/agent/pipeline"
)

// newFeed is what [uplink] asks for; nil where it asks for nothing.
func (a *agent) newFeed(cfg *config.Config) *pipeline.Feed {
	o := pipeline.FeedOptions{Publisher: publisher{a}, Origin: origin(cfg), Log: a.log}
	o.Origin.Clock = a.clock
	if s := cfg.Uplink.Scores; s != nil {
		o.Scores = &pipeline.Stream{Topic: s.Topic, Every: time.Duration(s.Every), Wants: config.Wanted(s.Channels)}
	}
	if s := cfg.Uplink.Samples; s != nil {
		o.Samples = &pipeline.Stream{Topic: s.Topic, Every: time.Duration(s.Every), Wants: config.Wanted(s.Channels)}
	}
	return pipeline.NewFeed(o)
}

// feedTopics are those that [uplink] names.
func feedTopics(cfg *config.Config) (names []string) {
	if s := cfg.Uplink.Scores; s != nil {
		names = append(names, s.Topic)
	}
	if s := cfg.Uplink.Samples; s != nil {
		names = append(names, s.Topic)
	}
	return names
}

// feed changes what is published beside the events. Both streams begin anew,
// whichever was changed.
func (a *agent) feed(w *works, next *config.Config) (said []string) {
	if err := w.street.Feed(a.newFeed(next)); err != nil {
		return nil // the street stops, and says so
	}
	was, now := w.config.Uplink, next.Uplink
	tell := func(stream string, was, now bool) {
		switch {
		case now:
			said = append(said, "[uplink."+stream+"]: "+map[bool]string{true: "a new window begins; the one before is sent as far as it went", false: "sent from now on"}[was])
		case was:
			said = append(said, "[uplink."+stream+"]: not sent any more")
		}
	}
	tell("scores", was.Scores != nil, now.Scores != nil)
	tell("samples", was.Samples != nil, now.Samples != nil)
	return said
}
