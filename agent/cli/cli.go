// Package cli is the command table of tocsin and the building of the street
// that the binary, the demo and the tests all use.
package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"tocsin/agent/config"
)

// Exit codes. 78 is sysexits' EX_CONFIG: the unit does not restart on it.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	exitConfig  = 78
)

// Version is set when a release is built.
var Version = ""

// IO is what a command reads and writes.
type IO struct {
	In       io.Reader
	Out, Err io.Writer
}

// Std is the process's own.
func Std() IO { return IO{os.Stdin, os.Stdout, os.Stderr} }

// command is one row of the table.
type command struct {
	name string
	args string
	does string
	run  func(c *call) error
}

// call is one command being run.
type call struct {
	IO
	flags *flag.FlagSet
	args  []string // what follows the command's name
}

func commands() []command {
	return []command{
		{"example", "[NAME]", "print a plant's configuration to begin with, or list them", example},
		{"check", "[--config FILE] [--live [--for 10s]]", "check the configuration, say what it does and costs; try it", check},
		{"run", "[--config FILE] [--once]", "read, judge and send until stopped", run},
		{"status", "[--config FILE] [--watch] [--json]", "say how the running agent fares", status},
		{"reload", "[--config FILE]", "let the running agent apply its configuration as it is now", reload},
		{"topics", "create|check [--config FILE]", "make or check the Kafka topics, print the ACLs to ask for", topics},
		{"spool", "status|dump|drain [--config FILE]", "look into the buffer, or send what waits in it", spoolCommand},
		{"score", "[--config FILE] [--train-rows N] [INPUT]", "score a CSV file row by row", score},
		{"schema", "config|event|status|scores|samples", "print a JSON Schema: of the configuration, of what is sent", schema},
		{"version", "", "print the version", version},
	}
}

// errUsage marks an error that the command's usage line cures.
var errUsage = errors.New("usage")

// errRefused marks an error that the configuration's file cures.
var errRefused = errors.New("refused")

// Main runs one command and returns the process's exit code.
func Main(args []string, std IO) int {
	if len(args) == 0 {
		help(std.Err)
		return exitUsage
	}
	name := args[0]
	if name == "help" || name == "-h" || name == "-help" || name == "--help" {
		if len(args) == 1 {
			help(std.Out)
			return exitOK
		}
		name, args = args[1], []string{args[1], "-h"}
	}
	if name == "--version" || name == "-version" {
		name = "version"
	}
	for _, cmd := range commands() {
		if cmd.name == name {
			return cmd.main(args[1:], std)
		}
	}
	fmt.Fprintf(std.Err, "tocsin: there is no command %q%s\ntocsin help lists the commands\n", name, suggest(name))
	return exitUsage
}

func (cmd command) main(args []string, std IO) int {
	c := &call{IO: std, flags: flag.NewFlagSet(cmd.name, flag.ContinueOnError), args: args}
	c.flags.SetOutput(io.Discard)
	err := cmd.run(c)
	var bad config.Errors
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, flag.ErrHelp):
		c.help(std.Out, cmd)
		return exitOK
	case errors.As(err, &bad):
		fmt.Fprintln(std.Err, bad.Error())
		return exitConfig
	case errors.Is(err, errRefused):
		fmt.Fprintln(std.Err, strings.TrimSuffix(err.Error(), ": "+errRefused.Error()))
		return exitConfig
	case errors.Is(err, errUsage):
		fmt.Fprintf(std.Err, "tocsin %s: %s\n", cmd.name, strings.TrimSuffix(err.Error(), ": "+errUsage.Error()))
		c.help(std.Err, cmd)
		return exitUsage
	}
	fmt.Fprintf(std.Err, "tocsin %s: %v\n", cmd.name, err)
	return exitFailure
}

func (c *call) help(to io.Writer, cmd command) {
	fmt.Fprintf(to, "usage: tocsin %s %s\n  %s\n", cmd.name, cmd.args, cmd.does)
	c.flags.VisitAll(func(f *flag.Flag) {
		value, does := flag.UnquoteUsage(f)
		otherwise := f.DefValue
		if d, ok := f.Value.(flag.Getter).Get().(time.Duration); ok {
			otherwise = config.Duration(d).String()
		}
		if otherwise != "" && otherwise != "0" && otherwise != "false" {
			does += " (default " + otherwise + ")"
		}
		fmt.Fprintf(to, "  %s\n        %s\n", strings.TrimSpace("--"+f.Name+" "+value), does)
	})
}

// parse reads the command's flags, which may stand before or after its other
// words, and returns those words. A word too many that can only be the site's
// file is taken for it.
func (c *call) parse(most int) ([]string, error) {
	var words []string
	rest := c.args
	for {
		if err := c.flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%s: %w", c.flagProblem(err), errUsage)
		}
		rest = c.flags.Args()
		if len(rest) == 0 {
			break
		}
		words, rest = append(words, rest[0]), rest[1:]
	}
	if len(words) > most && c.isSite(words[len(words)-1], most) {
		if err := c.flags.Set("config", words[len(words)-1]); err != nil {
			return nil, err
		}
		words = words[:len(words)-1]
	}
	if len(words) > most {
		return nil, fmt.Errorf("%q is one word too many: %w", words[most], errUsage)
	}
	return words, nil
}

// configFlag adds --config.
func (c *call) configFlag() *string {
	return c.flags.String("config", "/etc/tocsin/tocsin.toml", "the site's configuration `file`")
}

func help(to io.Writer) {
	fmt.Fprintln(to, "tocsin notices that a machine is about to fail, and tells Kafka.\n\nusage: tocsin COMMAND")
	for _, cmd := range commands() {
		fmt.Fprintf(to, "  %-8s %-42s %s\n", cmd.name, cmd.args, cmd.does)
	}
	fmt.Fprint(to, `
tocsin help COMMAND lists a command's options.
--config is /etc/tocsin/tocsin.toml where it is left out; FILE may be given without --config.
exit status: 0 done, 1 it failed, 2 wrong usage, 78 wrong configuration
first steps: tocsin example pump-house >site.toml, tocsin check --live site.toml, tocsin run site.toml
`)
}

func version(c *call) error {
	if _, err := c.parse(0); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.Out, "tocsin", versionText())
	return err
}

// versionText is the release's version, or what the build knows of itself.
func versionText() string {
	if Version != "" {
		return Version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
