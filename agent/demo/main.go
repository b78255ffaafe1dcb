// Command demo shows the whole street on one machine: an MQTT broker and a
// Kafka in this process, simulated pumps that publish, and the real agent, with
// a real configuration, in a process of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"tocsin/agent/cli"
)

func main() {
	if os.Getenv(asAgent) != "" {
		os.Exit(cli.Main(os.Args[1:], cli.Std()))
	}
	o, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	// The kernel ties the agent's life to the thread that started it.
	runtime.LockOSThread()
	ok, err := demo(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

// options are what a person can try.
type options struct {
	length  time.Duration
	outage  time.Duration // Kafka is away for this long
	kill    bool
	noFault bool
	load    load
	agent   string
	keep    bool
	colour  bool
}

func parseFlags(args []string) (o options, err error) {
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.DurationVar(&o.length, "for", 0, "stop after this long and say what was delivered; default: until interrupted")
	f.DurationVar(&o.outage, "outage", 0, "take Kafka away for this long, 11 s after the start")
	f.BoolVar(&o.kill, "kill", false, "kill the agent in between, as a power cut would, and start it again")
	f.BoolVar(&o.noFault, "no-fault", false, "healthy machines: nothing should be raised")
	o.load.flags(f)
	f.StringVar(&o.agent, "agent", "", "the tocsin `binary` to run as the agent; default: the same code inside this program")
	f.BoolVar(&o.keep, "keep", false, "keep the folder with the configuration, the buffer and the agent's log")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if err := o.load.check(); err != nil {
		fmt.Fprintln(f.Output(), err)
		return o, err
	}
	if o.load.on && o.length == 0 {
		o.length = 30 * time.Second
	}
	if !o.load.on && o.length != 0 && o.length < shortest {
		fmt.Fprintf(f.Output(), "--for %v is too short: the agent must learn first, then a fault must grow; give %v or more\n", o.length, shortest)
		return o, errors.New("too short")
	}
	info, err := os.Stdout.Stat()
	o.colour = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("NO_COLOR") == ""
	return o, nil
}

// stage is everything that runs.
type stage struct {
	options
	dir     string
	broker  *broker
	kafka   *cluster
	child   *child
	seen    *ledger
	screen  *screen
	started time.Time
}

// demo runs the show and reports whether it went as promised.
func demo(ctx context.Context, o options) (ok bool, err error) {
	s := &stage{options: o, seen: &ledger{ids: map[string]int{}}, screen: &screen{colour: o.colour}}
	if s.dir, err = os.MkdirTemp("", "tocsin-demo-"); err != nil {
		return false, fmt.Errorf("make a folder for the demonstration: %w", err)
	}
	if !o.keep {
		defer os.RemoveAll(s.dir)
	}
	if s.broker, err = startBroker(); err != nil {
		return false, err
	}
	if s.kafka, err = startCluster(); err != nil {
		return false, err
	}
	defer s.kafka.kafka.Close()
	s.child = &child{binary: o.agent, config: filepath.Join(s.dir, "site.toml"), socket: filepath.Join(s.dir, "tocsin.sock")}
	if err := os.WriteFile(s.child.config, []byte(s.site()), 0o600); err != nil {
		return false, fmt.Errorf("write the agent's configuration: %w", err)
	}
	s.started = time.Now()
	s.screen.started = s.started
	s.screen.say("the agent's configuration is %s", s.child.config)
	if err := s.child.start(); err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, s.child.stop()) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for p := range partitions {
		go s.seen.consume(ctx, s.kafka.address(), p, s.show)
	}
	if err := s.ready(ctx); err != nil {
		return false, err
	}
	if o.load.on {
		return s.underLoad(ctx)
	}
	return s.pumps(ctx)
}

// ready waits until the agent listens to the broker.
func (s *stage) ready(ctx context.Context) error {
	for end := time.Now().Add(20 * time.Second); ctx.Err() == nil; {
		if s.broker.listeners() > 0 {
			return nil
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "agent.log")) // shown as far as it is there
			return fmt.Errorf("the agent did not subscribe within 20 s; it said:\n%s", log)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return ctx.Err()
}

// site is the agent's configuration: what a person would write for this plant.
func (s *stage) site() string {
	head := fmt.Sprintf(`[site]
device = "demo-gateway"
enterprise = "acme"
site = "pump-house"
[kafka]
brokers = [%q]
timeout = "2s"
[agent]
socket = %q
[spool]
dir = %q
`, s.kafka.address(), s.child.socket, filepath.Join(s.dir, "data"))
	if s.load.on {
		return head + s.load.site(s.broker.address)
	}
	return head + pumpSite(s.broker.address)
}

func (s *stage) show(e event) {
	if !s.load.on {
		s.screen.event(e)
	}
}
