package cli

import (
	"context"
	"fmt"
	"os/signal"
	"syscall"

	"tocsin/agent/config"
)

// run reads, judges and sends until it is told to stop.
func run(c *call) error {
	file := c.configFlag()
	once := c.flags.Bool("once", false, "stop when every source is read to its end and all events are delivered")
	if _, err := c.parse(0); err != nil {
		return err
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return err
	}
	log := newLog(c.Err)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	signal.Ignore(syscall.SIGHUP)

	a, err := build(cfg, log)
	if err != nil {
		return err
	}
	defer a.close()
	a.street.Once = *once
	socket, err := a.listen()
	if err != nil {
		log.Warn("status commands cannot ask this agent", "error", err)
	}
	a.withdrawGone()
	log.Info("tocsin runs", "version", versionText(), "device", cfg.Site.Device, "config", cfg.Path, "sources", len(a.street.Sources),
		"channels", a.street.Queue.NumChannels(), "queued", a.spool.Stats().Waiting())
	served := make(chan struct{})
	go func() { defer close(served); socket.serve() }()
	a.street.Run(ctx)
	socket.close()
	<-served
	s := a.spool.Stats()
	log.Info("tocsin stopped", "queued", s.Waiting(), "acknowledged", s.Acknowledged, "dropped", s.Lost())
	return nil
}

// withdrawGone clears the alarms of channels that the configuration no longer
// names. While wildcards may still find a channel, its alarms wait for it.
func (a *agent) withdrawGone() {
	for _, m := range a.config.MQTT {
		for _, t := range m.Topics {
			if t.Dynamic() {
				return
			}
		}
	}
	for _, f := range a.config.CSV {
		if len(f.Columns) == 0 {
			return
		}
	}
	have := map[string]bool{}
	for i := range a.street.Queue.NumChannels() {
		have[a.street.Queue.Channel(channelID(i)).Name] = true
	}
	a.street.Judge.Withdraw(func(name string) bool { return !have[name] }, a.describeGone)
}

// schema prints a JSON Schema.
func schema(c *call) error {
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	print := map[string]func() []byte{"config": config.Schema, "event": eventSchema}
	if len(words) == 0 || print[words[0]] == nil {
		return fmt.Errorf("say which schema: config or event: %w", errUsage)
	}
	_, err = c.Out.Write(print[words[0]]())
	return err
}
