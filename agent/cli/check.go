package cli

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tocsin/agent/certs"
	"tocsin/agent/config"
	"tocsin/sensors"
)

// check says whether the configuration is right and what it does.
func check(c *call) error {
	file := c.configFlag()
	if _, err := c.parse(0); err != nil {
		return err
	}
	cfg, err := config.Load(*file)
	if err != nil {
		return err
	}
	if err := errors.Join(checkSpoolDir(cfg), checkCertificates(cfg)); err != nil {
		return err
	}
	return describeConfig(c.Out, cfg)
}

// checkCertificates says which certificate is missing, does not fit or is out of
// date. The agent itself starts all the same: the file may be mended, or the
// clock set, while it runs.
func checkCertificates(cfg *config.Config) error {
	at, trusted := clock()
	if !trusted {
		at = time.Time{}
	}
	var wrong []error
	check := func(t *config.TLS, path ...string) {
		if t == nil {
			return
		}
		if err := (certs.Files{CA: t.CA, Cert: t.Cert, Key: t.Key, ServerName: t.ServerName}).Check(at); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", cfg.Where(append(path, "tls")...), err))
		}
	}
	check(cfg.Kafka.TLS, "kafka")
	for _, name := range sortedKeys(cfg.MQTT) {
		check(cfg.MQTT[name].TLS, "mqtt", name)
	}
	return errors.Join(wrong...)
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

// describeConfig says in words what will be read, judged and sent.
func describeConfig(to io.Writer, cfg *config.Config) error {
	p := &printer{to: to}
	p.line("%s is right.", cfg.Path)
	p.line("device    %s, events come from %s", cfg.Site.Device, sourcePath(cfg))
	log := newLog(io.Discard)
	queue := sensors.NewQueue(1, 1, mostChannels)
	sources, err := newSources(cfg, queue, log)
	if err != nil {
		return err
	}
	for _, s := range sources {
		names := make([]string, 0, 8)
		for _, c := range s.Channels() {
			names = append(names, c.Name)
		}
		p.line("read      %s: %s", s.Name, few(append(names, found(cfg, s.Name)...)))
	}
	for i := range queue.NumChannels() {
		w := watch(cfg, queue.Channel(sensors.ChannelID(i)))
		var methods []string
		for _, d := range w.Detectors {
			methods = append(methods, d.Traits().Name)
		}
		p.line("judge     %s %s: %s", w.Channel.Name, unitOr(w.Channel.Unit), strings.Join(methods, ", "))
	}
	p.line("learn     %d readings of a channel before its learned detectors may alarm; false alarms of a channel: at most %s", cfg.Detect.Learn, cfg.Detect.FalseAlarms)
	p.line("keep      up to %s in %s, written every %s", cfg.Spool.MaxSize, cfg.Spool.Dir, cfg.Spool.Commit)
	p.line("send      to topic %s at %s, %s", cfg.Kafka.Events, strings.Join(cfg.Kafka.Brokers, ", "), security(cfg))
	return p.err
}

// found names what a source finds only when it reads.
func found(cfg *config.Config, source string) (names []string) {
	kind, name, _ := strings.Cut(source, ".")
	switch kind {
	case "mqtt":
		for _, t := range cfg.MQTT[name].Topics {
			if t.Dynamic() {
				names = append(names, t.Channel+" as found")
			}
		}
	case "csv":
		if len(cfg.CSV[name].Columns) == 0 {
			names = append(names, "every column of numbers in "+cfg.CSV[name].Path)
		}
	}
	return names
}

// few names the first of many.
func few(names []string) string {
	const most = 6
	if len(names) > most {
		return fmt.Sprintf("%d channels: %s …", len(names), strings.Join(names[:most], ", "))
	}
	return strings.Join(names, ", ")
}

func unitOr(unit string) string {
	if unit == "" {
		return "(no unit)"
	}
	return "in " + unit
}

func security(cfg *config.Config) string {
	words := "not encrypted"
	if t := cfg.Kafka.TLS; t != nil {
		words = "TLS"
		if t.Cert != "" {
			words = "mutual TLS"
		}
	}
	if s := cfg.Kafka.SASL; s != nil {
		words += ", " + s.Mechanism + " as " + s.Username
	}
	return words
}

// sortedKeys is the names of a table in order.
func sortedKeys[T any](m map[string]T) []string { return slices.Sorted(maps.Keys(m)) }
