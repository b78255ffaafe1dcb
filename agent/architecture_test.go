package main_test

import (
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write deps.txt anew")

// stages is the street: a stage may import the roots of those before it.
var stages = []string{"sensors", "detectors", "uplink", "agent"}

// topLevel is all that stands at the top beside dot-files and what a build
// leaves there.
var topLevel = []string{
	"agent", "sensors", "detectors", "uplink", "firmware-profiles", "systemd", "cross-build.sh", "go.mod", "go.sum",
	"README.md", "LICENSE", "CHANGELOG.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md",
	"dist", "tocsin",
}

// pkg is what go list says of one package.
type pkg struct {
	ImportPath, Dir, Doc               string
	Imports, TestImports, XTestImports []string
	GoFiles, TestGoFiles, XTestGoFiles []string
}

// packages lists this module's, once for all tests.
var packages = sync.OnceValues(func() ([]pkg, error) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,TestImports,XTestImports,GoFiles,TestGoFiles,XTestGoFiles", "tocsin/...").Output()
	if err != nil {
		return nil, err
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func all(t *testing.T) []pkg {
	t.Helper()
	list, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return list
}

// place splits "tocsin/sensors/mqtt" into its stage and what lies below it.
func place(path string) (stage, below string) {
	stage, below, _ = strings.Cut(strings.TrimPrefix(path, "tocsin/"), "/")
	return stage, below
}

// mayImport is the law of the street for code that is shipped: imports run one
// way, and only the agent knows the sub-packages.
func mayImport(from, to string) bool {
	fromStage, _ := place(from)
	toStage, toBelow := place(to)
	i, j := slices.Index(stages, fromStage), slices.Index(stages, toStage)
	switch {
	case fromStage == "agent":
		return true
	case toBelow != "":
		return false
	case fromStage == toStage:
		return true // a sub-package and its root
	}
	return j >= 0 && j < i
}

// testMayImport adds what tests need: their own package, the contract suites,
// and to a root's tests all of its stage.
func testMayImport(from, to string) bool {
	fromStage, fromBelow := place(from)
	toStage, toBelow := place(to)
	return mayImport(from, to) || from == to || fromBelow == "" && fromStage == toStage ||
		strings.HasSuffix(toBelow, "test") && mayImport(from, "tocsin/"+toStage)
}

func TestImportsRunOneWay(t *testing.T) {
	check := func(from string, imports []string, may func(from, to string) bool) {
		for _, to := range imports {
			if strings.HasPrefix(to, "tocsin/") && !may(from, to) {
				t.Errorf("%s imports %s: the street runs sensors ← detectors ← uplink ← agent, and only agent imports sub-packages", from, to)
			}
		}
	}
	for _, p := range all(t) {
		check(p.ImportPath, p.Imports, mayImport)
		check(p.ImportPath, p.TestImports, testMayImport)
		check(p.ImportPath, p.XTestImports, testMayImport)
	}
}

func TestMayImport(t *testing.T) {
	for _, c := range []struct {
		from, to string
		may      bool
	}{
		{"tocsin/agent/cli", "tocsin/sensors/mqtt", true},
		{"tocsin/sensors/mqtt", "tocsin/sensors", true},
		{"tocsin/uplink", "tocsin/detectors", true},
		{"tocsin/uplink/kafka", "tocsin/sensors", true},
		{"tocsin/sensors", "tocsin/sensors/mqtt", false},
		{"tocsin/sensors/csv", "tocsin/sensors/mqtt", false},
		{"tocsin/sensors", "tocsin/detectors", false},
		{"tocsin/detectors/ewma", "tocsin/uplink", false},
		{"tocsin/uplink/kafka", "tocsin/agent/config", false},
		{"tocsin/systemd", "tocsin/agent/cli", false},
		{"tocsin/detectors/ewma", "tocsin/detectors/detectortest", false},
	} {
		if got := mayImport(c.from, c.to); got != c.may {
			t.Errorf("mayImport(%s, %s) = %v", c.from, c.to, got)
		}
	}
	if !testMayImport("tocsin/detectors/ewma", "tocsin/detectors/detectortest") || !testMayImport("tocsin/detectors", "tocsin/detectors/ewma") ||
		testMayImport("tocsin/sensors/mqtt", "tocsin/sensors/csv") || testMayImport("tocsin/uplink/kafka", "tocsin/uplink/spool") {
		t.Error("tests may import contract suites, a root's tests all of its stage, and nothing else")
	}
}

func TestOneLevelBelowATopFolder(t *testing.T) {
	for _, p := range all(t) {
		if _, below := place(p.ImportPath); strings.Contains(below, "/") {
			t.Errorf("%s lies two levels below its top folder", p.ImportPath)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range all(t) {
		if p.Doc == "" {
			t.Errorf("%s has no package comment", p.ImportPath)
		}
	}
}

// TestNothingRunsBeforeMain holds that no file has an init function: whoever
// imports a package gets its names and no effect.
func TestNothingRunsBeforeMain(t *testing.T) {
	for _, p := range all(t) {
		for _, name := range slices.Concat(p.GoFiles, p.TestGoFiles, p.XTestGoFiles) {
			file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range file.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
					t.Errorf("%s/%s has an init function", p.ImportPath, name)
				}
			}
		}
	}
}

// TestEveryHouseOnTheStreet walks sensors and detectors: each folder is built
// into the street, shown in the example configuration and held by its stage's
// contract suite.
func TestEveryHouseOnTheStreet(t *testing.T) {
	example, err := os.ReadFile("config/example.toml")
	if err != nil {
		t.Fatal(err)
	}
	var builder pkg
	for _, p := range all(t) {
		if p.ImportPath == "tocsin/agent/cli" {
			builder = p
		}
	}
	for _, p := range all(t) {
		stage, below := place(p.ImportPath)
		if stage != "sensors" && stage != "detectors" || below == "" || strings.HasSuffix(below, "test") {
			continue
		}
		if !slices.Contains(builder.Imports, p.ImportPath) {
			t.Errorf("%s is not built into the street: agent/cli does not import it", p.ImportPath)
		}
		if row := exampleRow(stage, below); !strings.Contains(string(example), row) {
			t.Errorf("%s has no row in agent/config/example.toml: %s is not there", p.ImportPath, row)
		}
		suite := "tocsin/" + stage + "/" + strings.TrimSuffix(stage, "s") + "test"
		if !slices.Contains(slices.Concat(p.TestImports, p.XTestImports), suite) {
			t.Errorf("%s does not run its contract suite %s", p.ImportPath, suite)
		}
	}
}

// exampleRow is what the example configuration must hold: a table of the
// sensor, or the detector by the name that operators know.
func exampleRow(stage, below string) string {
	switch {
	case stage == "sensors":
		return "[" + below + "."
	case below == "threshold":
		return "[limit."
	case below == "mad":
		return "robust_z"
	}
	return below
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(topLevel, e.Name()) {
			t.Errorf("%s stands at the top level, which is given: see topLevel in this test", e.Name())
		}
	}
}

// TestLinkedDependencies holds the packages of others that the shipped binary
// contains to the list that a person has read: go test ./agent -update.
func TestLinkedDependencies(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", "tocsin/agent")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm", "GOARM=6", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	got := slices.DeleteFunc(strings.Fields(string(out)), func(p string) bool { return strings.HasPrefix(p, "tocsin/") })
	slices.Sort(got)
	if *update {
		if err := os.WriteFile("deps.txt", []byte(strings.Join(got, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("deps.txt")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Fields(string(want)), got); d != "" {
		t.Errorf("the binary links other packages than deps.txt lists; if that is meant: go test ./agent -update\n%s", d)
	}
}
