package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
)

const maxFile = 4 << 20 // bytes; ten thousand channels take half a MiB

// Load reads a site's file. The error, where there is one, is of type Errors
// and holds everything that is wrong; the Config is nil then.
func Load(path string) (*Config, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, Errors{{File: path, Message: "there is no such file", Cure: "name another with --config"}}
	case err == nil && info.IsDir():
		return nil, Errors{{File: path, Message: "this is a folder", Cure: "name the file in it, for example " + filepath.Join(path, "tocsin.toml")}}
	}
	text, err := readAtMost(path, maxFile)
	if err != nil {
		cure := ""
		if errors.Is(err, os.ErrPermission) {
			cure = "let the user that runs tocsin read it"
		}
		return nil, Errors{{File: path, Message: err.Error(), Cure: cure}}
	}
	return Parse(path, text)
}

// readAtMost refuses files, and devices without an end, that are longer.
func readAtMost(path string, most int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	text, err := io.ReadAll(io.LimitReader(f, int64(most)+1))
	if err == nil && len(text) > most {
		err = fmt.Errorf("this file is longer than the %d MiB that a configuration may have", most>>20)
	}
	return text, err
}

// Parse is Load of a text that was already read. Relative paths in it are
// relative to path's folder.
func Parse(path string, text []byte) (*Config, error) {
	sum := sha256.Sum256(text)
	l := newLoader(path, withoutBOM(text))
	l.config = Default()
	l.folder, _ = filepath.Abs(filepath.Dir(path))
	if len(text) > 1 && (bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff"))) {
		return nil, Errors{{File: path, Line: 1, Col: 1, Message: "the file is UTF-16", Cure: "save it as UTF-8"}}
	}
	l.root = l.parse()
	l.decode(l.root, reflect.ValueOf(l.config).Elem(), nil, "")
	l.check()
	if errs := l.errs.sorted(); len(errs) > 0 {
		return nil, errs[:min(len(errs), mostErrors)]
	}
	l.config.Path, l.config.Hash = path, hex.EncodeToString(sum[:])
	l.config.text = l.doc.text
	return l.config, nil
}

// Default is a new site: every default filled in, nothing to read and no
// broker. What tocsin does without a file is done with it.
func Default() *Config {
	c := &Config{}
	setDefaults(reflect.ValueOf(c).Elem())
	c.Site.Device, _ = os.Hostname()
	return c
}

// Where is the place, as file:line:col, of a key: Where("mqtt", "hall",
// "topics", "0", "channel"). A key that the file leaves out has the place of the
// table that it would stand in. It parses the text anew: for messages only.
func (c *Config) Where(path ...string) string {
	l := newLoader(c.Path, c.text)
	root := l.parse()
	for n := len(path); n > 0; n-- {
		if found := root.child(path[:n]...); found != nil {
			line, col := l.doc.position(found.key.from)
			return fmt.Sprintf("%s:%d:%d", c.Path, line, col)
		}
	}
	return c.Path
}

// loader is the work of one Load.
type loader struct {
	doc    *document
	folder string // absolute
	root   *node
	config *Config
	errs   Errors
	broken broken
}

const mostErrors = 100 // beyond that nobody reads on

func newLoader(file string, text []byte) *loader {
	return &loader{doc: newDocument(file, text), broken: broken{words: map[string]bool{}}}
}

func (l *loader) fail(at span, cure, format string, args ...any) {
	l.errs = append(l.errs, l.doc.error(at, fmt.Sprintf(format, args...), cure))
}

// failErr tells an error that may bring its own cure.
func (l *loader) failErr(at span, err error) {
	var cured curedError
	if errors.As(err, &cured) {
		l.fail(at, cured.cure, "%s", cured.problem)
	} else {
		l.fail(at, "", "%s", err)
	}
}

func (l *loader) lineOf(at span) int {
	line, _ := l.doc.position(at.from)
	return line
}

// at is the place of a value, or of the nearest table around it that the file
// has.
func (l *loader) at(path ...string) span {
	if n := l.root.child(path...); n != nil && len(path) > 0 {
		return n.value
	}
	for n := len(path) - 1; n > 0; n-- {
		if found := l.root.child(path[:n]...); found != nil {
			return found.key
		}
	}
	return span{}
}

const hidden = "***"

// shown is a value as a message may print it: shortened, and never a secret.
func (l *loader) shown(n *node) string {
	switch {
	case l.doc.isSecret(n.value):
		return hidden
	case len(n.text) > 80:
		return strings.ToValidUTF8(n.text[:77], "") + "…"
	}
	return n.text
}

// describe names the table that path leads to, as a person would.
func (l *loader) describe(path []string) string {
	for i, name := range path {
		if n := l.root.child(path[:i+1]...); n != nil && n.kind == array && i+1 < len(path) {
			return fmt.Sprintf("a row of %s in %s", quoteKey(name), bracketed(path[:i]))
		}
	}
	if len(path) == 0 {
		return "the file"
	}
	return bracketed(path)
}

// withoutBOM cuts off the mark that some Windows editors put at the beginning.
func withoutBOM(text []byte) []byte { return bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")) }
