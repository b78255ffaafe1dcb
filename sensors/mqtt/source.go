package mqtt

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"tocsin/sensors"
)

// lastJudged is how long a source that must stop waits for what it has offered
// to be judged and acknowledged.
const lastJudged = time.Second

// Source reads one broker. It implements sensors.Source.
type Source struct {
	options Options
	address address
	filters []filter // to subscribe to
	log     *slog.Logger
	acks    acks
	backlog backlog
	refusals
	out *sensors.Writer

	// Owned by the goroutine that reads the connection.
	routes  *routes
	decoder *decoder
	stray   bool // a message that no row reads was logged

	taking atomic.Bool // false: what needs an acknowledgement is passed over; it comes again
}

var _ sensors.Source = (*Source)(nil)

// New checks the options. Its errors say which of them is impossible; nothing is
// connected yet.
func New(o Options) (*Source, error) {
	if o.KeepAlive < time.Second {
		o.KeepAlive = defaultKeepAlive
	}
	if o.MaxPayload <= 0 {
		o.MaxPayload = defaultPayload
	}
	s := &Source{options: o, log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.log = s.log.With("mqtt", o.Name)
	var err error
	if s.address, err = parseAddress(o.Broker); err != nil {
		return nil, err
	}
	switch {
	case o.ClientID == "":
		return nil, errors.New("client_id is empty: the broker keeps the session by it")
	case o.QoS < 0 || o.QoS > 2:
		return nil, fmt.Errorf("qos %d: write 0, 1 or 2", o.QoS)
	case len(o.Topics) == 0:
		return nil, errors.New("no topics: nothing to read")
	}
	var rows []*row
	var filters []filter
	for _, t := range o.Topics {
		r, err := parseRow(t)
		if err != nil {
			return nil, err
		}
		rows, filters = append(rows, r), append(filters, r.filter)
	}
	s.filters = subscriptions(filters)
	s.routes = newRoutes(rows)
	s.decoder = newDecoder(s.routes)
	s.acks.last, s.acks.judged, s.backlog.last = 1, 1, 1 // 0 is no mark, and a part of the first message needs one before its own
	s.refusals.log = s.log
	return s, nil
}

// Channels lists the channels whose names hold no wildcard; the others are
// registered when their first message arrives.
func (s *Source) Channels() []sensors.Channel {
	return append([]sensors.Channel(nil), s.routes.channels...)
}

// Run connects, subscribes and reads until ctx ends or the connection is lost.
// When more messages wait for the detectors than may, it takes no more of them,
// lets those be judged and connects again; the broker then sends the rest.
func (s *Source) Run(ctx context.Context, out *sensors.Writer) error {
	s.attach(out)
	for {
		err := s.session(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.Is(err, errBehind):
			return err
		}
		s.log.Warn("the detectors are behind: connecting again for the messages that the broker kept")
		if err := out.Room(ctx); err != nil {
			return nil //nolint:nilerr // the agent is stopping
		}
	}
}

// errBehind says that messages were passed over, which the broker still has.
var errBehind = errors.New("the detectors are behind")

// attach makes ready for a Writer. All runs share the marks of one.
func (s *Source) attach(out *sensors.Writer) {
	if s.out == out {
		return
	}
	s.out = out
	s.routes.attach(out)
	out.OnJudged(s.acks.reached)
}

// session is one connection, from connecting to its end.
func (s *Source) session(ctx context.Context) error {
	s.taking.Store(true)
	s.backlog.reset()
	l, err := s.connect(ctx)
	if err != nil {
		return err
	}
	err = s.serve(ctx, l)
	if ctx.Err() != nil {
		s.taking.Store(false)
		s.settle(l)
	}
	l.close()
	s.acks.connected(nil)
	return err
}

// serve subscribes and reads until ctx ends, the link is lost, or more waits for
// the detectors than may.
func (s *Source) serve(ctx context.Context, l *link) error {
	s.log.Info("connected", "broker", s.options.Broker, "topics", texts(s.filters))
	if err := s.subscribe(ctx, l); err != nil {
		return err
	}
	stop := s.backlog.start(ctx, s.out)
	defer stop()
	select {
	case err := <-l.lost:
		return s.lost(err)
	case <-s.backlog.over:
		return s.catchUp(ctx, l)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// catchUp keeps the link until all that was taken is judged, however long that
// takes, so that none of it comes again.
func (s *Source) catchUp(ctx context.Context, l *link) error {
	for _, done := range []func() <-chan struct{}{s.backlog.empty, s.judged} {
		select {
		case <-done():
		case err := <-l.lost:
			return s.lost(err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := s.flushed(ctx, l); err != nil {
		return err
	}
	return errBehind
}

// settle gives what was offered a moment to be judged, so that its
// acknowledgements still go out.
func (s *Source) settle(l *link) {
	late := time.NewTimer(lastJudged)
	defer late.Stop()
	select {
	case <-s.judged():
	case <-l.lost:
	case <-late.C:
	}
}

// judged is closed when all that was offered has been judged.
func (s *Source) judged() <-chan struct{} {
	s.out.Flush()
	return s.acks.wait(s.backlog.offered())
}

func (s *Source) lost(err error) error {
	return s.explain("connection to "+s.options.Broker, err)
}
