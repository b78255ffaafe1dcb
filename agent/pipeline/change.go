package pipeline

import (
	"context"
	"slices"

	"tocsin/agent/alarms"
	"tocsin/sensors"
	"tocsin/uplink"
)

// Change is what a reload changes between the sensors and the spool. What it
// does not name goes on untouched.
type Change struct {
	Stop []string // sources, by name
	// Start are sources without a Writer. One that has the name of a stopped source
	// takes its place: the channels that both feed go on, and so does its ledger.
	Start  []*Source
	Watch  func(sensors.Channel) Watch // nil: as before
	Same   func(sensors.Channel) bool  // whether Watch says of a channel what it said before; nil: of every
	Alarms alarms.Settings
	Fixed  bool // see Judge
}

// Kept is how many of a channel's detectors go on with what they have learned,
// and how many begin anew.
type Kept struct{ Kept, Anew int }

// Change makes the change and returns, by the channel's name, what became of the
// detectors of every channel that is judged by new settings. After an error,
// which is ctx's, that of a street that stops, or sensors.ErrTooManyChannels,
// the sources of Stop are stopped and those of Start do not run.
//
// A source that is stopped has half of the Grace to return, as at a stop. What
// it has put is judged before anything else changes.
func (s *Street) Change(ctx context.Context, c Change) (map[string]Kept, error) {
	stopped, err := s.stopSources(ctx, c.Stop)
	if err != nil {
		return nil, err
	}
	type result struct {
		kept map[string]Kept
		err  error
	}
	done := make(chan result, 1)
	err = s.Queue.Then(func() {
		kept, err := s.Judge.change(&c, stopped)
		done <- result{kept, err}
	})
	if err != nil {
		return nil, err
	}
	select {
	case r := <-done:
		if r.err != nil {
			return nil, r.err
		}
		return r.kept, s.startSources(c.Start)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stopSources returns when the sources have, or are left behind.
func (s *Street) stopSources(ctx context.Context, names []string) (stopped []*Source, err error) {
	if !s.runs() {
		return nil, sensors.ErrClosed
	}
	for _, source := range s.All() {
		if slices.Contains(names, source.Name) {
			stopped = append(stopped, source)
			source.task.end()
		}
	}
	patience, enough := context.WithTimeout(ctx, s.Grace/2)
	defer enough()
	for _, source := range stopped {
		source.stop(patience, s.Log)
		if ctx.Err() != nil {
			return nil, ctx.Err() // the street stops, and waits for them itself
		}
		source.Writer.Close()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Sources = slices.DeleteFunc(s.Sources, func(source *Source) bool { return slices.Contains(stopped, source) })
	return stopped, nil
}

// runs reports whether the street reads: from Run on, until it stops.
func (s *Street) runs() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reading != nil
}

func (s *Street) startSources(sources []*Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading == nil {
		return sensors.ErrClosed
	}
	for _, source := range sources {
		source.start(s.reading, s.Log)
	}
	s.Sources = append(s.Sources, sources...)
	return nil
}

// Hurry lets every source that waits be run again at once, and the forwarder try
// again what is held.
func (s *Street) Hurry() {
	for _, source := range s.All() {
		source.hurry()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Forwarder != nil {
		s.Forwarder.Hurry()
	}
}

// Forward stops the forwarder, which has its grace for a send under way, and
// starts another, which takes over what is in flight; nil is none. It reports
// whether the street still sends.
func (s *Street) Forward(f *uplink.Forwarder) bool {
	s.mu.Lock()
	last := s.forward
	s.mu.Unlock()
	last.stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending == nil {
		return false
	}
	if last != nil {
		was := s.Forwarder.Status()
		s.before.delivered += was.Delivered
		s.before.buried += was.Buried
		s.before.repeated += was.Repeated
	}
	if s.Forwarder, s.forward = f, nil; f == nil {
		return true
	}
	s.forward = begin(s.sending, func(ctx context.Context) {
		if err := f.Run(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("the forwarder stopped, events stay in the buffer", "error", err)
		}
	})
	return true
}

// Forwarding is how forwarding goes; its counts are those of every forwarder
// since Run.
func (s *Street) Forwarding() uplink.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Forwarder == nil {
		return uplink.Status{}
	}
	now := s.Forwarder.Status()
	now.Delivered += s.before.delivered
	now.Buried += s.before.buried
	now.Repeated += s.before.repeated
	return now
}

// Start runs something beside the street, as Beside says, until stop is called
// or the street has stopped.
func (s *Street) Start(run func(ctx context.Context)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sending == nil {
		return func() {}
	}
	s.beside.Add(1)
	return begin(s.sending, func(ctx context.Context) {
		defer s.beside.Done()
		run(ctx)
	}).stop
}
