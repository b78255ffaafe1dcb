package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"tocsin/agent/certs"
	"tocsin/agent/config"
	"tocsin/uplink"
)

// The marks of an answer: right; worth a look, though it works; and wrong.
const (
	good  = "✓"
	odd   = "!"
	wrong = "✗"
)

// answer is what one try has shown, and what to do about it.
type answer struct {
	mark string
	what string        // was tried
	took time.Duration // until it answered; 0 where that tells nothing
	said string
	cure string
}

// probe tries one thing that the configuration names. It returns soon after its
// context ends.
type probe func(ctx context.Context) []answer

// connectPatience is what connecting may take beside the time for listening.
const connectPatience = 15 * time.Second

// checkLive tries everything that the configuration names, at the same time, and
// prints the answers in the order of the file. Nothing that runs is disturbed:
// sessions of brokers, consumer groups and topics are left as they are.
func (c *call) checkLive(ctx context.Context, cfg *config.Config, span time.Duration) error {
	s, err := survey(ctx, cfg)
	if err != nil {
		return err
	}
	p := &printer{to: c.Out}
	printFindings(p, cfg)
	p.line("%s is right; trying what it names for %s", cfg.Path, config.Duration(span))
	ctx, cancel := context.WithTimeout(ctx, span+connectPatience)
	defer cancel()
	var waiting []chan []answer
	for _, try := range s.probes(span) {
		ready := make(chan []answer, 1)
		waiting = append(waiting, ready)
		go func() { ready <- try(ctx) }()
	}
	tried, failed := 0, 0
	for _, ready := range waiting {
		for _, a := range <-ready {
			a.print(p)
			tried++
			if a.mark == wrong {
				failed++
			}
		}
	}
	s.costs().print(p)
	if p.err == nil && failed > 0 {
		return fmt.Errorf("%d of %s failed", failed, plural(tried, "check"))
	}
	return p.err
}

// probes lists what there is to try. Those of sources put the rates that they
// measure into their feeds.
func (s *site) probes(span time.Duration) []probe {
	list := []probe{s.tryDisk, s.tryCertificates, s.tryKafka}
	for i := range s.feeds {
		f := &s.feeds[i]
		switch kind, name, _ := strings.Cut(f.name, "."); kind {
		case "mqtt":
			list = append(list, func(ctx context.Context) []answer { return s.tryMQTT(ctx, name, f, span) })
		case "csv":
			list = append(list, func(ctx context.Context) []answer { return tryCSV(ctx, s.cfg, name) })
		}
	}
	return list
}

func (a answer) print(p *printer) {
	took := ""
	if a.took > 0 {
		took = " (" + short(a.took) + ")"
	}
	p.line("%s %s: %s%s", a.mark, a.what, a.said, took)
	if a.cure != "" {
		p.line("    cure: %s", a.cure)
	}
}

// failure is the answer of an error, its cure told apart.
func failure(what string, took time.Duration, err error) answer {
	a := answer{mark: wrong, what: what, took: took}
	var out uplink.Outcome
	var file *certs.Error
	var told config.Error
	switch {
	case errors.As(err, &file):
		a.said, a.cure = file.Problem, file.Cure
		if file.File != "" {
			a.said = file.File + ": " + file.Problem
		}
	case errors.As(err, &told):
		a.said, a.cure = told.Message, told.Cure
	case errors.As(err, &out):
		a.said, a.cure = fmt.Sprint(out.Err), out.Cure
	default:
		a.said, a.cure, _ = strings.Cut(err.Error(), "; ")
	}
	return a
}

// tryCertificates says what is wrong with those of this gateway.
func (s *site) tryCertificates(context.Context) (all []answer) {
	for _, err := range certificateErrors(s.cfg) {
		where, _, _ := strings.Cut(err.Error(), ": ")
		all = append(all, failure(where, 0, err))
	}
	return all
}
