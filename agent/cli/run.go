package cli

import (
	"context"
	"fmt"
	"os/signal"
	"slices"
	"syscall"

	"tocsin/agent/alarms"
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
	// Without the second, a restart of the journal that reads stderr would end the agent.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)

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

// fixed says that no source finds channels while it runs.
func fixed(cfg *config.Config) bool {
	for _, m := range cfg.MQTT {
		if slices.ContainsFunc(m.Topics, config.Topic.Dynamic) {
			return false
		}
	}
	for _, f := range cfg.CSV {
		if len(f.Columns) == 0 {
			return false
		}
	}
	return true
}

// schema prints a JSON Schema.
func schema(c *call) error {
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	schemas := map[string]func() []byte{"config": config.Schema, "event": alarms.Schema}
	if len(words) == 0 || schemas[words[0]] == nil {
		return fmt.Errorf("say which schema: config or event: %w", errUsage)
	}
	_, err = c.Out.Write(schemas[words[0]]())
	return err
}
