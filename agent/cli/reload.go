package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"tocsin/agent/config"
)

// reload lets the running agent apply its configuration, and says what it did.
func reload(c *call) error {
	file := c.configFlag()
	if _, err := c.parse(0); err != nil {
		return err
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return err
	}
	report, err := post(cfg.Agent.Socket, "/reload")
	if errors.Is(err, errNobody) {
		return fmt.Errorf("no agent answers on %s; start one: tocsin run --config %s; one that runs with another [agent] socket than this file has now reloads on SIGHUP",
			cfg.Agent.Socket, *file)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(c.Out, report)
	return err
}

// unchanged is the report of a reload for which there was no reason.
const unchanged = "nothing has changed"

// reload reads the configuration again and applies what is different in it; the
// report has one line for every change. Where the file is wrong, or cannot be
// applied, the error says why and nothing has changed. Sources that wait for a
// broker try at once: whoever asks has probably mended something. One reload runs
// at a time; ctx ends only the wait for its turn, and a stop of the agent all of it.
func (a *agent) reload(ctx context.Context) (report string, err error) {
	select {
	case a.reloads <- struct{}{}:
		defer func() { <-a.reloads }()
	case <-ctx.Done():
		return "", ctx.Err()
	case <-a.life.Done():
		return "", a.life.Err()
	}
	if err := a.life.Err(); err != nil {
		return "", err
	}
	running := a.now().config
	next, err := loadChecked(running.Path)
	if err == nil && next.Hash == running.Hash {
		a.refuse(nil)
		a.now().street.Hurry()
		return unchanged + "\n", nil
	}
	var said []string
	if err == nil {
		said, err = a.apply(next)
	}
	if a.life.Err() != nil {
		return "", fmt.Errorf("the agent stops: %w", a.life.Err())
	}
	if a.refuse(err); err != nil {
		return "", err
	}
	if said == nil {
		said = []string{unchanged + " in what the agent does"}
	}
	for _, line := range said {
		a.log.Info("reloaded", "change", line)
	}
	a.doubt(next)
	a.now().street.Hurry()
	return strings.Join(said, "\n") + "\n", nil
}

// loadChecked refuses what tocsin check does.
func loadChecked(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return cfg, errors.Join(append(certificateErrors(cfg), checkSpoolDir(cfg))...)
}

// heed reloads on SIGHUP.
func (a *agent) heed(hangups <-chan os.Signal) {
	for {
		select {
		case <-hangups:
		case <-a.life.Done():
			return
		}
		if report, err := a.reload(a.life); err == nil && strings.HasPrefix(report, unchanged) {
			a.log.Info(unchanged)
		}
	}
}

// look is how often the files of the configuration are looked at. A change is
// applied when two looks in a row have seen the same: a file that is just being
// written is not read.
const look = 2 * time.Second

// watchFiles reloads when the files of the configuration change, as long as
// [agent] watch says so.
func (a *agent) watchFiles() {
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	var done, last string
	for {
		select {
		case <-ticker.C:
		case <-a.life.Done():
			return
		}
		cfg := a.now().config
		if !cfg.Agent.Watch {
			continue
		}
		seen := sight(cfg.Files)
		if seen != "" && seen == last && seen != done {
			done = seen
			_, _ = a.reload(a.life) // it has logged what there is to say
		}
		last = seen
	}
}

// sight is what can be seen of files without reading them, through symbolic
// links, and of what lies in the folders among them. It is empty while the first
// one is not there, as when an editor puts another in its place.
func sight(files []string) string {
	var all strings.Builder
	see := func(file string) bool {
		info, err := os.Stat(file)
		if err != nil {
			return false
		}
		inode := uint64(0)
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			inode = s.Ino
		}
		fmt.Fprintf(&all, "%s %d %d %d %v\n", file, info.ModTime().UnixNano(), info.Size(), inode, info.Mode())
		return true
	}
	for i, file := range files {
		if !see(file) && i == 0 {
			return ""
		}
		entries, _ := os.ReadDir(file) // none in what is no folder
		for _, e := range entries {
			see(filepath.Join(file, e.Name()))
		}
	}
	return all.String()
}
