package cli

import (
	"context"
	"sync"
	"time"

	"tocsin/agent/health"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
	"tocsin/uplink/spool"
)

// newMonitor makes the monitor of the agent, which outlives every reload.
func (a *agent) newMonitor() *health.Monitor {
	return health.NewMonitor(health.Agent{Version: versionText(), Boot: spool.BootID(), Clock: a.clock, Look: a.look, Certificates: a.certificates})
}

// tell sends the agent's status to Kafka, through every reload, until silent is
// called, which sends the last word. Call that while the sink is still open.
func (a *agent) tell() (silent func()) {
	ctx, end := context.WithCancel(context.WithoutCancel(a.life))
	a.health.Become(health.Running)
	context.AfterFunc(a.life, func() { a.health.Become(health.Stopping) })
	var reporter sync.WaitGroup
	reporter.Go(func() { a.reporter().Run(ctx) })
	return func() {
		end()
		reporter.Wait()
	}
}

func (a *agent) reporter() *health.Reporter {
	return &health.Reporter{Monitor: a.health, Sink: publisher{a}, Log: a.log, Address: func() health.Address {
		cfg := a.now().config
		return health.Address{Topic: cfg.Kafka.Status, Device: cfg.Site.Device, Source: sourcePath(cfg)}
	}}
}

// Claim is that of the sink.
func (p publisher) Claim(ctx context.Context, group, topic, note string) (former string, err error) {
	return p.agent.now().sink.Claim(ctx, group, topic, note)
}

// look is what the agent's parts say of themselves.
func (a *agent) look() health.Status {
	w, state := a.now(), a.configState()
	cfg, street := w.config, w.street
	s := health.Status{
		Device: cfg.Site.Device, Site: sitePath(cfg),
		Config:  health.Config{Path: state.Path, Hash: state.Hash, Loaded: &state.Loaded, Refused: state.Refused},
		Alarms:  street.Judge.Alarms.Load(),
		Judge:   health.Judge{Channels: street.Queue.NumChannels(), Forgets: w.memory == nil},
		Pending: street.Keeper.Pending.Load(), Buffer: report(w.spool.Stats()), Kafka: kafkaReport(street.Forwarding()),
		Sources: map[string]health.Source{},
	}
	s.Buffer.MaxBytes = int64(cfg.Spool.MaxSize)
	for name, f := range street.Feeding() {
		if s.Feeds == nil {
			s.Feeds = map[string]health.Feed{}
		}
		s.Feeds[name] = health.Feed{Topic: f.Topic, Made: f.Made, Sent: f.Sent, Dropped: f.ByReason(), Late: f.Late}
	}
	now := sensors.Now()
	if round := street.Judge.Round.Load(); round > 0 {
		s.Judge.Idle = max(0, time.Duration(now-round).Seconds())
	}
	if err := street.Keeper.Trouble.Load(); err != nil {
		s.Trouble = (*err).Error()
	}
	for _, src := range street.All() {
		counters, fares := &src.Writer.Counters, src.Status()
		// In this order: what was judged or refused has been read.
		refused, judged, read := counters.ByReason(), counters.Judged.Load(), counters.Read.Load()
		one := health.Source{State: fares.State, Since: fares.Since, Error: fares.Error, Runs: fares.Runs,
			Read: read, Judged: judged, Refused: refused}
		if latest := counters.Latest.Load(); latest > 0 {
			age := max(0, time.Duration(now-latest).Seconds())
			one.Latest = &age
		}
		s.Sources[src.Name] = one
	}
	return s
}

// certificates lists the files of the gateway's own certificates.
func (a *agent) certificates() (files []string) {
	cfg := a.now().config
	if t := cfg.Kafka.TLS; t != nil && t.Cert != "" {
		files = append(files, t.Cert)
	}
	for _, name := range sortedKeys(cfg.MQTT) {
		if t := cfg.MQTT[name].TLS; t != nil && t.Cert != "" {
			files = append(files, t.Cert)
		}
	}
	return files
}

// report is the buffer's part of a status.
func report(s spool.Stats) health.Buffer {
	r := health.Buffer{Appended: s.Appended, Waiting: s.Waiting(), BySeverity: bySeverity(s.Queued), Acknowledged: s.Acknowledged, Dead: s.Buried,
		Repeated: s.Repeated, OpenAlarms: s.OpenAlarms, Bytes: s.Bytes, Files: s.Files}
	for _, f := range s.InFlight {
		r.InFlight += f.Records
	}
	if !s.Oldest.IsZero() {
		r.Oldest = &s.Oldest
	}
	for why, n := range s.Dropped {
		if r.Dropped == nil {
			r.Dropped = map[string]map[string]uint64{}
		}
		r.Dropped[why.String()] = bySeverity(n)
	}
	return r
}

func bySeverity(n [detectors.Critical + 1]uint64) map[string]uint64 {
	by := map[string]uint64{}
	for s, count := range n {
		if count > 0 {
			by[detectors.Severity(s).String()] = count
		}
	}
	return by
}

// kafkaReport is the uplink's part of a status.
func kafkaReport(s uplink.Status) health.Kafka {
	return health.Kafka{Connected: s.Connected, Since: s.Since, Topic: s.Topic, Partitions: s.Partitions, Delivered: s.Delivered, Error: s.Error, Cure: s.Cure}
}
