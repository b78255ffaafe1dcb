package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
)

// check says whether the configuration is right, what it does and what that
// costs; with --live also whether everything it names answers.
func check(c *call) error {
	file := c.configFlag()
	live := c.flags.Bool("live", false, "try every source, every broker and the disk, and measure the rates; nothing is written to Kafka")
	span := c.flags.Duration("for", 10*time.Second, "--live: how long to listen for readings")
	if _, err := c.parse(0); err != nil {
		return err
	}
	if *span < time.Second || *span > time.Hour {
		return fmt.Errorf("--for %v: give 1s to 1h: %w", *span, errUsage)
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if *live {
		return c.checkLive(ctx, cfg, *span)
	}
	if err := errors.Join(checkSpoolDir(cfg), checkCertificates(cfg)); err != nil {
		return err
	}
	s, err := survey(ctx, cfg)
	if err != nil {
		return err
	}
	p := &printer{to: c.Out}
	printFindings(p, cfg)
	s.describe(p)
	s.costs().print(p)
	return p.err
}

// checkCertificates says which certificate is missing, does not fit or is out of
// date. The agent itself starts all the same: the file may be mended, or the
// clock set, while it runs.
func checkCertificates(cfg *config.Config) error { return errors.Join(certificateErrors(cfg)...) }

// certificateErrors is the same, one by one.
func certificateErrors(cfg *config.Config) (wrong []error) {
	at, trusted := clock.New().Now()
	if !trusted {
		at = time.Time{}
	}
	var bad config.Errors
	if errors.As(cfg.CheckCertificates(at), &bad) {
		for _, err := range bad {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

// checkSpoolDir refuses a folder that can never be made, because a file has its
// name or that of one above it.
func checkSpoolDir(cfg *config.Config) error {
	for at := filepath.Join(cfg.Spool.Dir, "spool"); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		switch {
		case err == nil && !info.IsDir():
			return fmt.Errorf("%s: the buffer cannot be in %s: %s is a file; set [spool] dir to a folder, or move the file away",
				cfg.Where("spool", "dir"), cfg.Spool.Dir, at)
		case err == nil, at == filepath.Dir(at):
			return nil
		}
	}
}

// printFindings tells what is legal and probably not meant, and which file wins
// where two set a value.
func printFindings(p *printer, cfg *config.Config) {
	for _, w := range cfg.Warnings {
		p.line("warning: %s", w.Error())
	}
	for _, o := range cfg.Overridden {
		p.line("note: %s: %s is used, not the value at %s", o.Winner, o.Path, o.Loser)
	}
	if len(cfg.Warnings)+len(cfg.Overridden) > 0 {
		p.line("")
	}
}
