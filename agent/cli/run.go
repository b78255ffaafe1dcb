package cli

import (
	"context"
	"os"
	"os/signal"
	"slices"
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
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE) // or a restart of the journal, which reads stderr, would end the agent

	a, err := newAgent(ctx, cfg, *once, log)
	if err != nil {
		return err
	}
	w := a.now()
	log.Info("tocsin runs", "version", versionText(), "device", cfg.Site.Device, "config", cfg.Path, "sources", len(w.street.All()),
		"channels", w.street.Queue.NumChannels(), "queued", w.spool.Stats().Waiting())
	a.doubt(cfg)
	a.run(hangups)
	s := a.now().spool.Stats()
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
