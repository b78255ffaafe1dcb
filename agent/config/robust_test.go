package config

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
)

// One broken character raises errors where it is, and none elsewhere: what
// stands around it is still read.
func TestOneBreakStaysLocal(t *testing.T) {
	text := string(read(t, "testdata/hall.toml"))
	site(t)
	if _, err := Parse("hall.toml", []byte(text)); err != nil {
		t.Fatal(err)
	}
	breaks, far := 0, 0
	for i, c := range text {
		if !strings.ContainsRune(`"[]{}=,`, c) || strings.HasPrefix(text[strings.LastIndexByte(text[:i], '\n')+1:], "#") {
			continue
		}
		broken := text[:i] + text[i+1:]
		_, err := Parse("hall.toml", []byte(broken))
		var errs Errors
		if !errors.As(err, &errs) {
			continue // a comma too few is legal at the end of a list
		}
		breaks++
		line := strings.Count(text[:i], "\n") + 1
		for _, e := range errs {
			// A list left open is told where it begins, up to four lines above.
			if e.Line < line-4 || e.Line > line+1 {
				far++
				t.Logf("without the %c in line %d:\n%v", c, line, e)
			}
		}
		if len(errs) > 2 {
			t.Errorf("without the %c in line %d there are %d errors:\n%v", c, line, len(errs), err)
		}
	}
	t.Logf("%d breaks, %d errors far from them", breaks, far)
	if breaks < 100 || far > breaks/20 {
		t.Errorf("%d of %d breaks raise errors far from them", far, breaks)
	}
}

// Whatever the bytes: no panic, an end, a place within the file for each error,
// and no secret printed. What go-toml refuses is refused.
func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.toml")
	for _, file := range files {
		f.Add(readSeed(f, file))
	}
	f.Add(Example())
	f.Add(uncommented(Example()))
	f.Add([]byte("password = \"\"\"\nhunter2\n\x00"))
	f.Add([]byte("a = [[[[[[[[[[[[[[[[{b = 1}]]]]]]]]]]]]]]]]"))
	f.Add([]byte("#\xff\n[a.b.c.d]\n[[a.b]]\n[a]\nb.c = 1"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz.toml", text)
		var tree map[string]any
		if toml.Unmarshal(text, &tree) != nil && err == nil {
			t.Error("go-toml refuses it, we do not")
		}
		if err == nil {
			if c == nil || c.Hash == "" {
				t.Error("neither an error nor a configuration")
			}
			return
		}
		var errs Errors
		if !errors.As(err, &errs) || len(errs) == 0 {
			t.Fatalf("no Errors: %v", err)
		}
		lines := strings.Split(string(text), "\n")
		for _, e := range errs {
			if e.Line < 1 || e.Line > len(lines) || e.Col < 1 || e.Col > len(lines[e.Line-1])+1 {
				t.Errorf("place %d:%d outside of %d lines: %s", e.Line, e.Col, len(lines), e.Message)
			}
			if e.Message == "" || e.Snippet == "" {
				t.Errorf("an error without message or snippet: %+v", e)
			}
		}
	})
}

// The same of a text cut anywhere into two files: whatever state the first is
// left in, the errors of the second are in the second, on lines that it has.
func FuzzTwoFiles(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.toml")
	for _, file := range files {
		f.Add(readSeed(f, file), uint(40))
	}
	f.Add([]byte("a = \"\"\"\nb = [\n"), uint(9))
	f.Fuzz(func(t *testing.T, text []byte, cut uint) {
		at := int(cut % uint(len(text)+1))
		texts := []source{{"first.toml", text[:at]}, {"conf.d/second.toml", text[at:]}}
		lines := map[string]int{}
		for _, s := range texts {
			lines[s.file] = bytes.Count(s.text, []byte("\n")) + 1
		}
		c, err := newLoader(texts).load()
		var errs Errors
		if errors.As(err, &errs) == (c != nil) {
			t.Fatalf("%v, %v", c, err)
		}
		if c != nil {
			errs = c.Warnings
		}
		for _, e := range errs {
			if most, ok := lines[e.File]; !ok || e.Line < 1 || e.Line > most || e.Col < 1 {
				t.Errorf("a place outside the files:\n%v", e)
			}
		}
	})
}

// Where a secret may stand, it is masked, in valid files and in broken ones.
func TestSecretsAreMasked(t *testing.T) {
	for _, line := range []string{
		`password = "hunter2"`, `password = hunter2`, `password: hunter2`, `password "hunter2"`, `password = "hunter2`,
		`Passwd='hunter2'`, `"mqtt.password" = "hunter2"`, `sasl.password = "hunter2"`, `api_key = "hunter2"`, `token = "hunter2" garbage`,
		"password = \"\"\"\nhunter2\nhunter2\"\"\" x", "password = '''\nhunter2", `password_file = "hunter2"`, `password_file = hunter2`,
		`sasl = {username = "x", password = "hunter2"}`, `sasl = {username = "x", password = "hunter2`, `password_file = ["hunter2"]`,
		`broker = "tcp://agent:hunter2@10.0.0.9"`, `broker = tcp://agent:hunter2@10.0.0.9`, `brokers = ["kafka://agent:hunter2@10.0.0.9"]`,
		"ca = '''-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----'''", `password = ["a", "hunter2"]`, `secret = {a = "hunter2"}`,
		`sasl_jaas_config = 'x required username="u" password="hunter2";'`, `sasl.jaas.config = "x password=hunter2;"`, `Passwort = "hunter2"`,
		`mot_de_passe = "hunter2"`, `contraseña = "hunter2"`, `contrasena = "hunter2"`, `kennwort = hunter2`, `tls = {key = "-----BEGIN PRIVATE KEY-----hunter2"}`,
		"password = [\n  \"hunter2\",\n x", `password.hunter2 = 1`, `client_secret="\"hunter2"`, `PASSWORD	=	"hunter2"`,
	} {
		for _, table := range []string{"", "[kafka]\n", "[kafka.sasl]\n", "[mqtt.hall]\n", "[mqtt.hunted]\nbroker = 1\n"} {
			_, err := Parse("x.toml", []byte(table+line+"\n"))
			if err == nil {
				t.Errorf("%q loads", line)
			} else if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%q is printed:\n%v", line, err)
			}
		}
	}
}
