package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"tocsin/agent/config"
)

// suggest is the command that was probably meant.
func suggest(name string) string {
	var names []string
	for _, cmd := range commands() {
		names = append(names, cmd.name)
	}
	if near := config.Nearest(name, names); near != "" {
		return fmt.Sprintf(", did you mean %q?", near)
	}
	return ""
}

// isSite reports whether a word names the site's file without --config: a TOML
// file, or where the command takes no other word anything that is there.
func (c *call) isSite(word string, most int) bool {
	given := false
	c.flags.Visit(func(f *flag.Flag) { given = given || f.Name == "config" })
	return !given && c.flags.Lookup("config") != nil && (strings.HasSuffix(word, ".toml") || most == 0 && exists(word))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// flagProblem says in a person's words what package flag found, and the flag
// that was probably meant: one of this command, or the command that has it.
func (c *call) flagProblem(err error) string {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return strings.ReplaceAll(strings.ReplaceAll(err.Error(), " flag -", " flag --"), "needs an argument: -", "needs an argument: --")
	}
	name = strings.TrimPrefix(name, "-")
	if owners := commandsWith(name); len(owners) > 0 {
		return fmt.Sprintf("--%s belongs to tocsin %s", name, strings.Join(owners, " and tocsin "))
	}
	problem := fmt.Sprintf("there is no flag --%s", name)
	if near := config.Nearest(name, flagNames(c.flags)); near != "" {
		problem += fmt.Sprintf(", did you mean --%s?", near)
	}
	return problem
}

// commandsWith names the commands that have a flag.
func commandsWith(name string) (owners []string) {
	for _, cmd := range commands() {
		// A command defines its flags, then parses: asked for help it does no more.
		c := &call{IO: IO{strings.NewReader(""), io.Discard, io.Discard}, flags: flag.NewFlagSet(cmd.name, flag.ContinueOnError), args: []string{"-h"}}
		c.flags.SetOutput(io.Discard)
		if err := cmd.run(c); errors.Is(err, flag.ErrHelp) && c.flags.Lookup(name) != nil {
			owners = append(owners, cmd.name)
		}
	}
	return owners
}

func flagNames(flags *flag.FlagSet) (names []string) {
	flags.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	return names
}
