package cli

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"strings"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/sensors"
)

// tryMQTT listens to a broker twice, under client ids of its own and without a
// session: as the agent would, which says what becomes of the messages, and
// beside that to the bare messages, which say why.
func (s *site) tryMQTT(ctx context.Context, name string, f *feed, span time.Duration) []answer {
	ctx, cancel := context.WithTimeout(ctx, span+connectPatience/2)
	defer cancel()
	trial := *s.cfg
	trial.MQTT = maps.Clone(s.cfg.MQTT)
	m := trial.MQTT[name]
	m.ClientID, m.QoS = fmt.Sprintf("%s-check-%04x", m.ClientID, rand.N(1<<16)), 0 // two may check at the same time
	trial.MQTT[name] = m

	what := f.name + " " + m.Broker
	heard, err := newEar(&trial, name)
	if err != nil {
		return []answer{failure(what, 0, err)}
	}
	ended := make(chan error, 1)
	go func() { ended <- heard.listen(ctx) }()
	t := newTap(s.cfg.MQTT[name])
	began := time.Now()
	if err := t.connect(ctx, m); err != nil {
		took := time.Since(began)
		select {
		case told := <-ended: // the same, with its cure
			if told != nil {
				err = told
			}
		case <-time.After(connectPatience / 5):
			cancel()
			<-ended
		}
		return []answer{failureAt(what, m.Broker, took, err)}
	}
	took := time.Since(began)
	defer t.close()
	err = t.listen(ctx, span)
	cancel()
	if told := <-ended; err == nil {
		err = told
	}
	if err != nil && !t.refusedAll() {
		return []answer{failureAt(what, m.Broker, took, err)}
	}
	f.measured(heard, span)
	a := answer{mark: good, what: what, took: took, said: fmt.Sprintf("%s readings in %s, %s/s", number(float64(heard.readings)), config.Duration(span), number(float64(heard.readings)/span.Seconds()))}
	if heard.refused != nil {
		a.mark, a.said = odd, a.said+"; refused: "+reasons(heard.refused)
	}
	return append([]answer{a}, s.rows(name, t, heard, span)...)
}

// failureAt is failure without the broker's address, which what names.
func failureAt(what, broker string, took time.Duration, err error) answer {
	a := failure(what, took, err)
	a.said = strings.TrimPrefix(a.said, "connect to "+broker+": ")
	return a
}

// ear reads a broker as the agent does.
type ear struct {
	source   sensors.Source
	queue    *sensors.Queue
	writer   *sensors.Writer
	readings int
	channels map[string]*reading // heard so far
	refused  map[string]uint64   // by reason; nil for none
}

// reading is what was heard of one channel.
type reading struct {
	count    int
	last     sensors.Sample
	arrived  time.Time // of the last
	retained bool
}

func newEar(cfg *config.Config, name string) (*ear, error) {
	source, err := newMQTT(cfg, name, clock.New(), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	e := &ear{source: source, queue: sensors.NewQueue(64, batchSamples, mostChannels), channels: map[string]*reading{}}
	e.writer, err = e.queue.Writer("mqtt."+name, source.Channels())
	return e, err
}

// listen reads until ctx ends; its error says why the broker was lost, or never
// had.
func (e *ear) listen(ctx context.Context) error {
	err := listen(ctx, e.queue, e.source, e.writer, func(samples []sensors.Sample) {
		now := time.Now()
		e.readings += len(samples)
		for _, s := range samples {
			name := e.queue.Channel(s.Channel).Name
			r := e.channels[name]
			if r == nil {
				r = &reading{}
				e.channels[name] = r
			}
			r.count, r.last, r.arrived, r.retained = r.count+1, s, now, s.Quality == sensors.UncertainLastUsableValue
		}
	})
	e.refused = e.writer.Counters.ByReason()
	return err
}

// of is the channels that a row has filled.
func (e *ear) of(t config.Topic) map[string]*reading {
	found := map[string]*reading{}
	if !t.Dynamic() {
		if r := e.channels[t.Channel]; r != nil {
			found[t.Channel] = r
		}
		return found
	}
	wanted := config.Wanted([]string{places(t.Channel)})
	for name, r := range e.channels {
		if wanted(name) {
			found[name] = r
		}
	}
	return found
}

// places puts a * for each {1}, {2} … and {name}.
func places(template string) string {
	var b strings.Builder
	for {
		text, after, open := strings.Cut(template, "{")
		b.WriteString(text)
		if !open {
			return b.String()
		}
		b.WriteByte('*')
		_, template, _ = strings.Cut(after, "}")
	}
}

// measured puts what was heard in the place of what was not known.
func (f *feed) measured(e *ear, span time.Duration) {
	f.rate, f.unknown, f.basis = float64(e.readings)/span.Seconds(), 0, "measured in "+config.Duration(span).String()
	f.heard = e.readings > 0
	known := map[string]bool{}
	for _, c := range f.channels {
		known[c.Name] = true
	}
	for i := range e.queue.NumChannels() {
		if c := e.queue.Channel(sensors.ChannelID(i)); !known[c.Name] {
			f.channels = append(f.channels, c)
		}
	}
}
