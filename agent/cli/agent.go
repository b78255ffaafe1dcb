package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/agent/health"
	"tocsin/uplink"
)

// agent is the process. Its works change when the configuration does.
type agent struct {
	log   *slog.Logger
	clock *clock.Clock
	once  bool
	life  context.Context // until it is told to stop; every reload ends with it
	end   context.CancelFunc

	works    atomic.Pointer[works]
	health   *health.Monitor
	reloads  chan struct{} // of one: holds a token while a reload is under way
	rebuilds chan rebuild
	doors    doors // owned by who holds the token

	mu      sync.Mutex
	refused refusal // guarded by mu
}

// rebuild asks for the whole street to be built anew.
type rebuild struct {
	config *config.Config
	done   chan error // of one; nil: it is built
}

// retryBuild is how often it is tried to build again what ran before.
const retryBuild = 5 * time.Second

// newAgent builds the works of a configuration. life ends when the agent is told
// to stop.
func newAgent(life context.Context, cfg *config.Config, once bool, log *slog.Logger) (*agent, error) {
	a := &agent{log: log, clock: clock.With(clock.Options{Log: log}), once: once,
		reloads: make(chan struct{}, 1), rebuilds: make(chan rebuild)}
	a.life, a.end = context.WithCancel(life)
	w, err := a.build(cfg, nil)
	if err != nil {
		return nil, err
	}
	a.works.Store(w)
	a.health = a.newMonitor()
	a.reloads <- struct{}{} // until run has opened the doors
	return a, nil
}

// now is the works as they are. Take it once for what must fit together.
func (a *agent) now() *works { return a.works.Load() }

// run keeps a street running until the agent is told to stop or, with --once,
// all is read. hangups ask for a reload.
func (a *agent) run(hangups <-chan os.Signal) {
	var err error
	if a.doors, err = a.open(a.now().config); err != nil {
		a.log.Warn("status commands cannot ask this agent", "error", err)
	}
	<-a.reloads
	silent := a.tell()
	var beside sync.WaitGroup
	beside.Go(a.watchFiles)
	beside.Go(func() { a.heed(hangups) })
	for a.live() {
	}
	a.end()
	beside.Wait()
	a.reloads <- struct{}{} // the last reload has ended, and there is no other
	silent()
	a.now().close(a.log)
	a.doors.close()
}

// live runs the street until it is over, and reports whether another was built
// in its place.
func (a *agent) live() bool {
	street := a.now().street
	running, end := context.WithCancel(a.life)
	defer end()
	over := make(chan struct{})
	go func() { defer close(over); street.Run(running) }()
	var r rebuild
	select {
	case <-over:
		return false
	case r = <-a.rebuilds:
	}
	end()
	<-over
	if err := a.life.Err(); err != nil {
		r.done <- err
		return false
	}
	r.done <- a.rebuild(a.now(), r.config)
	return a.life.Err() == nil
}

// rebuild builds the works of a configuration in place of others, or, where that
// cannot be, those again: there is always a street, as soon as the disk allows.
func (a *agent) rebuild(before *works, cfg *config.Config) error {
	before.close(a.log)
	w, refused := a.build(cfg, before)
	for refused != nil {
		var err error
		if w, err = a.build(before.config, before); err == nil {
			break
		}
		a.log.Error("what ran before cannot be built again, tried until it can", "error", err)
		select {
		case <-time.After(retryBuild):
		case <-a.life.Done():
			return errors.Join(refused, err)
		}
	}
	a.works.Store(w)
	return refused
}

// publisher sends by way of the sink that the agent has at the time.
type publisher struct{ agent *agent }

var _ uplink.Publisher = publisher{}

// Publish is that of the sink.
func (p publisher) Publish(ctx context.Context, topic string, messages []uplink.Message) error {
	return p.agent.now().sink.Publish(ctx, topic, messages)
}

// configState is which configuration runs.
type configState struct {
	Path   string    `json:"path"`
	Hash   string    `json:"hash"` // SHA-256 of what was read, in hexadecimal
	Loaded time.Time `json:"loaded"`
	refusal
}

// refusal is why a newer file does not run; the zero value says that there is
// none.
type refusal struct {
	Refused   string    `json:"refused,omitempty"` // everything that is wrong with it
	RefusedAt time.Time `json:"refused_at,omitzero"`
}

// configState says which configuration runs, and whether a newer one was refused.
func (a *agent) configState() configState {
	w := a.now()
	a.mu.Lock()
	defer a.mu.Unlock()
	return configState{w.config.Path, w.config.Hash, w.loaded, a.refused}
}

// doubt logs what is legal in a configuration and probably not meant.
func (a *agent) doubt(cfg *config.Config) {
	for _, doubt := range cfg.Warnings {
		a.log.Warn("the configuration may not say what was meant", "at", doubt.Place(), "doubt", doubt.Message, "cure", doubt.Cure)
	}
}

const refusedText = "the new configuration is refused, nothing has changed"

// refuse keeps and logs why a newer file does not run; nil: there is none.
func (a *agent) refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err == nil && a.refused.Refused != "" {
		a.log.Info("the configuration is right again")
	}
	if a.refused = (refusal{}); err != nil {
		a.refused = refusal{err.Error(), time.Now()}
		var all config.Errors
		if !errors.As(err, &all) {
			a.log.Error(refusedText, "error", err)
		}
		for _, e := range all {
			a.log.Error(refusedText, "at", e.Place(), "error", e.Message, "cure", e.Cure)
		}
	}
}
