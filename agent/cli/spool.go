package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/agent/health"
	"tocsin/uplink"
	"tocsin/uplink/spool"
)

// spoolCommand looks into the buffer. Where an agent runs it is asked; the files
// are opened only when none does.
func spoolCommand(c *call) error {
	file := c.configFlag()
	asJSON := c.flags.Bool("json", false, "status: for programs")
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	verbs := map[string]func(*call, *config.Config, bool) error{"status": spoolStatus, "dump": spoolDump, "drain": spoolDrain}
	if len(words) == 0 || verbs[words[0]] == nil {
		return fmt.Errorf("say what to do: status, dump or drain: %w", errUsage)
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return err
	}
	return verbs[words[0]](c, cfg, *asJSON)
}

func spoolStatus(c *call, cfg *config.Config, asJSON bool) error {
	s, err := askStatus(cfg.Agent.Socket)
	if errors.Is(err, errNobody) {
		err = withSpool(c, cfg, func(sp *spool.Spool) error { s = atRest(sp); return nil })
	}
	if err != nil {
		return err
	}
	if asJSON {
		return printStatus(c.Out, s, asJSON)
	}
	p := &printer{to: c.Out}
	printStore(p, s, time.Now())
	return p.err
}

// withSpool opens the files of an agent that does not run.
func withSpool(c *call, cfg *config.Config, do func(*spool.Spool) error) (err error) {
	if err := mayOpen(filepath.Join(cfg.Spool.Dir, "spool")); err != nil {
		return err
	}
	s, err := openSpool(cfg, clock.New(), newLog(c.Err))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return do(s)
}

// mayOpen refuses what would leave files behind that the agent could not open
// afterwards: a buffer begun, or written to, by root instead of the agent's user.
func mayOpen(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no buffer in %s: no agent has run with this configuration yet", dir)
	}
	if err != nil {
		return fmt.Errorf("look into the buffer: %w; run this as the agent's user", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && os.Geteuid() == 0 && owner.Uid != 0 {
		return fmt.Errorf("the buffer in %s belongs to user %d: run this as that user, as in sudo -u '#%d' tocsin spool status", dir, owner.Uid, owner.Uid)
	}
	return nil
}

// dump writes one JSON line a record that waits or is dead.
func dump(to io.Writer, s *spool.Spool) error {
	type row struct {
		ID       string          `json:"ce_id"`
		Where    string          `json:"where"`
		Type     string          `json:"ce_type"`
		Key      string          `json:"key"`
		Severity string          `json:"severity"`
		Time     time.Time       `json:"ce_time"`
		Body     json.RawMessage `json:"body"`
	}
	e := json.NewEncoder(to)
	return s.Walk(func(r uplink.Record, where string) error {
		return e.Encode(row{r.ID(), where, r.Type, r.Key, r.Severity.String(), time.Unix(0, r.Time).UTC(), r.Body})
	})
}

func spoolDump(c *call, cfg *config.Config, _ bool) error {
	body, err := ask(cfg.Agent.Socket, "/dump")
	if errors.Is(err, errNobody) {
		return withSpool(c, cfg, func(s *spool.Spool) error { return dump(c.Out, s) })
	}
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(c.Out, body)
	return err
}

// spoolDrain waits until the buffer is empty: the running agent sends anyway,
// and where none runs this command does.
func spoolDrain(c *call, cfg *config.Config, _ bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s, err := askStatus(cfg.Agent.Socket)
	if err == nil {
		return c.watchDrain(ctx, s, func() (health.Status, error) { return askStatus(cfg.Agent.Socket) })
	}
	if !errors.Is(err, errNobody) {
		return err
	}
	return withSpool(c, cfg, func(sp *spool.Spool) error {
		sink, err := newSink(cfg, clock.New())
		if err != nil {
			return err
		}
		f := uplink.NewForwarder(sp, sink, forwarderOptions(cfg, clock.New(), newLog(c.Err)))
		send, stopSending := context.WithCancel(ctx)
		sent := make(chan error, 1)
		go func() { sent <- f.Run(send) }()
		err = c.watchDrain(ctx, draining(sp, f), func() (health.Status, error) {
			return draining(sp, f), nil
		})
		stopSending()
		return errors.Join(err, <-sent, sink.Close())
	})
}

// draining is what can be said of a buffer that this command itself sends.
func draining(sp *spool.Spool, f *uplink.Forwarder) health.Status {
	return health.Status{Buffer: report(sp.Stats()), Kafka: kafkaReport(f.Status())}
}

// watchDrain tells how much is left and why, when that changes and at most once a
// second, until nothing is.
func (c *call) watchDrain(ctx context.Context, s health.Status, next func() (health.Status, error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	hint, told := "; Ctrl-C stops this, the events stay in the buffer", ""
	for s.Buffer.Waiting > 0 || s.Pending > 0 {
		if line := fmt.Sprintf("%d events left; kafka: %s", s.Buffer.Waiting+uint64(s.Pending), kafkaLine(s.Kafka)); line != told {
			fmt.Fprintln(c.Err, line+hint)
			hint, told = "", line
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopped with %d events left; they stay in the buffer", s.Buffer.Waiting)
		case <-tick.C:
		}
		var err error
		if s, err = next(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.Out, "the buffer is empty, %d events acknowledged so far\n", s.Buffer.Acknowledged)
	return err
}
