package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"tocsin/agent/alarms"
	"tocsin/agent/certs"
	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/agent/pipeline"
	"tocsin/sensors"
	"tocsin/sensors/csv"
	"tocsin/sensors/mqtt"
	"tocsin/sensors/simulate"
	"tocsin/uplink"
	"tocsin/uplink/kafka"
	"tocsin/uplink/spool"
)

// batchSamples is how many readings one batch holds: enough that handing it on
// costs nothing beside judging it.
const batchSamples = 256

// mostChannels bounds what wildcards may find.
const mostChannels = 20000

// eventsWaiting bounds the events between judge and keeper.
const eventsWaiting = 2048

// diskReserve is disk space that the buffer leaves to others: under it the least
// severe events are dropped rather than the whole gateway brought down.
const diskReserve = 16 << 20

// grace is the unit's TimeoutStopSec, 30 s, less two seconds and less the five
// that a send under way has after it.
const grace = 23 * time.Second

// works is what a configuration is built into: a street, and what it holds open.
// None of its fields ever changes: a reload makes other works, which may share
// most of what these have.
type works struct {
	config *config.Config
	loaded time.Time // when the configuration was
	street *pipeline.Street
	spool  *spool.Spool
	sink   *kafka.Sink
	memory *pipeline.Memory
}

// build makes the works that a configuration describes. Nothing is contacted
// yet: a sensor or a cluster that is down is found, told and retried later.
// Sources that ran before with the same settings go on where they were.
func (a *agent) build(cfg *config.Config, before *works) (w *works, err error) {
	w = &works{config: cfg, loaded: time.Now()}
	defer func() {
		if err != nil {
			w.close(a.log)
			w = nil
		}
	}()
	if w.spool, err = openSpool(cfg, a.clock, a.log); err != nil {
		return w, err
	}
	if w.memory, err = pipeline.OpenMemory(cfg.Spool.Dir, a.log); err != nil {
		a.log.Error("the detectors learn afresh and will remember nothing", "error", err)
	}
	w.memory.Follow(a.clock)
	if w.sink, err = newSink(cfg, a.clock); err != nil {
		return w, err
	}
	queue := sensors.NewQueue(max(cfg.Agent.Buffer/batchSamples, 4), batchSamples, mostChannels)
	sources, err := newSources(cfg, queue, a.clock, a.log)
	if err != nil {
		return w, err
	}
	before.handOver(cfg, sources)
	keeper := pipeline.NewKeeper(w.spool, time.Duration(cfg.Spool.Commit), eventsWaiting, a.log)
	judge, err := a.newJudge(w, queue, keeper.Emit)
	if err != nil {
		return w, err
	}
	w.street = &pipeline.Street{
		Queue: queue, Sources: sources, Judge: judge, Keeper: keeper, Log: a.log, Grace: grace, Once: a.once,
		Forwarder: a.newForwarder(w.spool, w.sink, cfg),
		Beside:    []func(context.Context){judge.Feed.Run},
		Empty:     func() bool { return w.spool.Stats().Waiting() == 0 },
	}
	return w, nil
}

func (a *agent) newForwarder(s *spool.Spool, to *kafka.Sink, cfg *config.Config) *uplink.Forwarder {
	return uplink.NewForwarder(s, to, forwarderOptions(cfg, a.clock, a.log))
}

func alarmSettings(cfg *config.Config) alarms.Settings {
	return alarms.Settings{Update: time.Duration(cfg.Alarms.Update), ReAlarm: time.Duration(cfg.Alarms.ReAlarm), Clear: time.Duration(cfg.Alarms.Clear)}
}

func (a *agent) newJudge(w *works, queue *sensors.Queue, emit alarms.Emit) (*pipeline.Judge, error) {
	cfg := w.config
	state, err := w.spool.State()
	if err != nil {
		return nil, fmt.Errorf("read which alarms are active: %w", err)
	}
	origin := origin(cfg)
	origin.Boot, origin.Clock = spool.BootID(), a.clock
	return &pipeline.Judge{
		Queue: queue, Memory: w.memory, Log: a.log, Clock: a.clock, Fixed: fixed(cfg), Feed: a.newFeed(cfg),
		Bell:     alarms.NewBell(alarmSettings(cfg), origin, w.spool.Epoch(), w.spool.NextSeq(), emit),
		Restored: alarms.Restore(state),
		Watch:    func(c sensors.Channel) pipeline.Watch { return watch(cfg, c) },
	}, nil
}

// sitePath is the ISA-95 path of the site, of the parts that are set.
func sitePath(cfg *config.Config) string {
	s := cfg.Site
	return path.Join(s.Enterprise, s.Site, s.Area, s.Line)
}

// sourcePath is ce_source: the gateway's place in the enterprise.
func sourcePath(cfg *config.Config) string { return "/" + path.Join(sitePath(cfg), cfg.Site.Device) }

// describe is what events say of a channel.
func describe(cfg *config.Config, c sensors.Channel) alarms.Channel {
	machine := config.MachineOf(c.Name)
	key := machine
	if key == "" {
		key = cfg.Site.Device
	}
	return alarms.Channel{Channel: c, Machine: machine, Key: path.Join(sitePath(cfg), key)}
}

func openSpool(cfg *config.Config, clk *clock.Clock, log *slog.Logger) (*spool.Spool, error) {
	dir := filepath.Join(cfg.Spool.Dir, "spool")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the buffer's folder: %w; set [spool] dir to a folder this user may write", err)
	}
	return spool.Open(dir, spool.Options{MaxBytes: int64(cfg.Spool.MaxSize), MaxAge: time.Duration(cfg.Spool.MaxAge),
		Reserve: diskReserve, Clock: clk.Vouched, Oldest: clk.Floor(), Log: log})
}

func newSink(cfg *config.Config, clk *clock.Clock) (*kafka.Sink, error) {
	k := cfg.Kafka
	o := kafka.Options{Brokers: k.Brokers, Codec: k.Codec, Timeout: time.Duration(k.Timeout), ClientID: "tocsin-" + cfg.Site.Device,
		Topic: k.Events, Now: clk.Now}
	secure, err := clientTLS(k.TLS, clk)
	if err != nil {
		return nil, fmt.Errorf("[kafka.tls]: %w", err)
	}
	if secure != nil {
		o.TLS = func(address string) *tls.Config { return certs.For(secure, address) }
	}
	if s := k.SASL; s != nil {
		o.SASL = &kafka.SASL{Mechanism: s.Mechanism, Username: s.Username, Password: certs.Password(s.PasswordFile)}
	}
	return kafka.New(o)
}

// clientTLS is nil where no TLS is asked for.
func clientTLS(t *config.TLS, clk *clock.Clock) (*tls.Config, error) {
	if t == nil {
		return nil, nil
	}
	return certs.Client(certs.Files{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName, Now: clk.TLSTime})
}

func forwarderOptions(cfg *config.Config, clk *clock.Clock, log *slog.Logger) uplink.ForwarderOptions {
	return uplink.ForwarderOptions{Topic: cfg.Kafka.Events, Log: log, Timeout: 3 * time.Duration(cfg.Kafka.Timeout), Clock: clk.Now,
		Boot: spool.BootID(), Uptime: clock.Uptime, Oldest: clk.Floor(),
		Restamp: (&alarms.Restamper{Boot: spool.BootID(), Clock: clk}).Records}
}

// newSources makes every source that the configuration names, in the order of
// the names, and registers its channels.
func newSources(cfg *config.Config, queue *sensors.Queue, clk *clock.Clock, log *slog.Logger) ([]*pipeline.Source, error) {
	var list []*pipeline.Source
	add := func(name string, finds bool, s sensors.Source, err error) error {
		if err != nil {
			return fmt.Errorf("[%s]: %w", name, err)
		}
		w, err := queue.Writer(name, s.Channels())
		if err != nil {
			return fmt.Errorf("[%s]: %w; at most %d", name, err, mostChannels)
		}
		list = append(list, &pipeline.Source{Name: name, Source: s, Writer: w, Finds: finds})
		return nil
	}
	for _, name := range sortedKeys(cfg.MQTT) {
		s, err := newMQTT(cfg, name, clk, log)
		if err := add("mqtt."+name, slices.ContainsFunc(cfg.MQTT[name].Topics, config.Topic.Dynamic), s, err); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(cfg.CSV) {
		s, err := newCSV(cfg.CSV[name])
		if err := add("csv."+name, len(cfg.CSV[name].Columns) == 0, s, err); err != nil {
			return nil, err
		}
	}
	for _, name := range sortedKeys(cfg.Simulate) {
		s, err := newPumps(name, cfg.Simulate[name])
		if err := add("simulate."+name, false, s, err); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func newMQTT(cfg *config.Config, name string, clk *clock.Clock, log *slog.Logger) (sensors.Source, error) {
	m := cfg.MQTT[name]
	o := mqtt.Options{Name: name, Broker: m.Broker, ClientID: m.ClientID, Username: m.Username, QoS: m.QoS, KeepAlive: time.Duration(m.KeepAlive),
		MaxPayload: int(m.MaxPayload), Log: log.With("source", "mqtt."+name)}
	if m.PasswordFile != "" {
		o.Password = certs.Password(m.PasswordFile)
	}
	var err error
	if o.TLS, err = clientTLS(m.TLS, clk); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	o.TLS = certs.For(o.TLS, hostOf(m.Broker))
	for _, t := range m.Topics {
		o.Topics = append(o.Topics, mqtt.Topic{Topic: t.Topic, Format: t.Format, Pointer: t.Pointer, Each: t.Each, Name: t.Name,
			Channel: t.Channel, Unit: t.Unit, Time: t.Time, TimeFormat: t.TimeFormat, Interval: time.Duration(t.Interval), Scale: t.Scale, Offset: t.Offset})
	}
	return mqtt.New(o)
}

// hostOf is host:port of a broker's address; the configuration has checked it.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

func newCSV(c config.CSV) (sensors.Source, error) {
	return csv.New(csv.Options{Path: c.Path, Follow: c.Follow, Speed: c.Speed, TimeFormat: c.TimeFormat, Machine: c.Machine, Columns: c.Columns, Ignore: c.Ignore})
}

func newPumps(name string, p config.Pumps) (sensors.Source, error) {
	return simulate.New(simulate.Options{Name: name, Pumps: p.Pumps, Interval: time.Duration(p.Interval), Fault: p.Fault, FaultAt: time.Duration(p.FaultAt), Seed: p.Seed})
}

// close gives back what build opened. The street has stopped by then.
func (w *works) close(log *slog.Logger) {
	if w.sink != nil {
		if err := w.sink.Close(); err != nil {
			log.Warn("closing Kafka", "error", err)
		}
	}
	if w.memory != nil {
		if err := w.memory.Close(); err != nil {
			log.Error("closing what the detectors have learned", "error", err)
		}
	}
	if w.spool != nil {
		if err := w.spool.Close(); err != nil {
			log.Error("closing the buffer", "error", err)
		}
	}
}
