// Gotest runs go test and prints what go test prints: a line for each package,
// and for a test that failed all it said; with -v, for one that passed too. It
// fails when go test does, and for a skipped test that .ci/skips does not list.
//
//	go run .ci/gotest.go STAGE ARGUMENTS OF GO TEST...
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json (go doc test2json).
type event struct{ Action, Package, Test, Output string }

// allowed is a line of .ci/skips.
type allowed struct {
	stages []string
	pkg    string
	test   *regexp.Regexp
}

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Println("gotest:", err)
		os.Exit(1)
	}
}

func run(stage string, args []string) error {
	list, err := readSkips(".ci/skips")
	if err != nil {
		return err
	}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	skipped := report(bufio.NewScanner(out), slices.Contains(args, "-v"))
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("go test %s: %w", strings.Join(args, " "), err)
	}
	for _, e := range skipped {
		if !slices.ContainsFunc(list, func(a allowed) bool {
			return slices.Contains(a.stages, stage) && a.pkg == e.Package && a.test.MatchString(e.Test)
		}) {
			fmt.Printf("skipped, yet not in .ci/skips: %s %s %s\n", stage, e.Package, e.Test)
			err = fmt.Errorf("a test was skipped")
		}
	}
	return err
}

// report prints the events and returns those that tell of a skipped test.
func report(lines *bufio.Scanner, verbose bool) (skipped []event) {
	lines.Buffer(nil, 16<<20)
	said := map[[2]string]*bytes.Buffer{}
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text())
			continue
		}
		id := [2]string{e.Package, e.Test}
		switch {
		case e.Action == "build-output", e.Action == "output" && e.Test == "" && e.Output != "PASS\n":
			fmt.Print(e.Output)
		case e.Action == "output" && !strings.HasPrefix(e.Output, "=== "):
			if said[id] == nil {
				said[id] = new(bytes.Buffer)
			}
			said[id].WriteString(e.Output)
		case e.Action == "pass", e.Action == "fail", e.Action == "skip":
			if said[id] != nil && (verbose || e.Action == "fail") {
				fmt.Print(said[id])
			}
			delete(said, id)
			if e.Action == "skip" && e.Test != "" {
				skipped = append(skipped, e)
			}
		}
	}
	for id, b := range said { // a crash: go test does not say which test it was
		fmt.Printf("%s %s had not ended:\n%s", id[0], id[1], b)
	}
	return skipped
}

func readSkips(path string) (list []allowed, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0][0] == '#' {
			continue
		}
		if len(f) < 4 {
			return nil, fmt.Errorf("%s: %q is not: stages package test why", path, line)
		}
		test, err := regexp.Compile("^(" + f[2] + ")$")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		list = append(list, allowed{strings.Split(f[0], ","), f[1], test})
	}
	return list, nil
}
