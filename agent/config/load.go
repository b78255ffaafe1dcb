package config

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"
)

// Load reads a site's file and, above it, the files of the folder conf.d beside
// it (see merge). The error, where there is one, is of type Errors and holds
// everything that is wrong; the Config is nil then.
func Load(path string) (*Config, error) {
	texts, err := readAll(path)
	if err != nil {
		return nil, err
	}
	return newLoader(texts).load()
}

// Parse is Load of one text that was already read. Relative paths in it are
// relative to path's folder.
func Parse(path string, text []byte) (*Config, error) {
	return newLoader([]source{{path, text}}).load()
}

// Socket is where the agent of a file answers, as far as the file tells, be it
// wrong elsewhere: whoever is mending it wants to see what runs.
func Socket(path string) string {
	texts, err := readAll(path)
	if err != nil {
		return Default().Agent.Socket
	}
	l := newLoader(texts)
	_, _ = l.load() // l.config has what was understood
	return l.config.Agent.Socket
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
// "topics", "0", "channel"). A key that the files leave out has the place of the
// table that it would stand in. It parses the texts anew: for messages only.
func (c *Config) Where(path ...string) string {
	l := newLoader(c.texts)
	l.parseAll()
	for n := len(path); n > 0; n-- {
		if found := l.root.child(path[:n]...); found != nil {
			return l.doc.place(found.key.from)
		}
	}
	return c.Path
}

// loader is the work of one Load.
type loader struct {
	texts      []source // as they were read, the winner last
	doc        *document
	folder     string // of the first file, absolute
	hostname   string // what a gateway is called that the file gives no name
	root       *node
	config     *Config
	errs       Errors
	warnings   Errors
	overridden []Override
	broken     broken
	moment     time.Time // at which certificates must be valid; zero: not judged
}

const mostErrors = 100 // beyond that nobody reads on

// load does the work; whatever is wrong, it goes on to find the rest.
func (l *loader) load() (*Config, error) {
	l.config.Site.Device = l.hostname
	for _, s := range l.texts {
		if bytes.HasPrefix(s.text, []byte("\xff\xfe")) || bytes.HasPrefix(s.text, []byte("\xfe\xff")) {
			return nil, Errors{{File: s.file, Line: 1, Col: 1, Message: "the file is UTF-16", Cure: "save it as UTF-8"}}
		}
	}
	l.parseAll()
	l.decode(l.root, reflect.ValueOf(l.config).Elem(), nil, "")
	l.check()
	if errs := l.errs.sorted(); len(errs) > 0 {
		return nil, errs[:min(len(errs), mostErrors)]
	}
	c := l.config
	c.Path, c.Files, c.Hash, c.texts = l.texts[0].file, filesOf(l.texts), hashOf(l.texts), l.texts
	c.Warnings, c.Overridden = l.warnings.sorted(), l.overridden
	return c, nil
}

func (l *loader) fail(at span, cure, format string, args ...any) {
	l.errs = append(l.errs, l.doc.error(at, fmt.Sprintf(format, args...), cure))
}

// warn is fail for what is legal and probably not meant.
func (l *loader) warn(at span, cure, format string, args ...any) {
	if len(l.warnings) < mostErrors {
		l.warnings = append(l.warnings, l.doc.error(at, fmt.Sprintf(format, args...), cure))
	}
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

// lineOf names the line of at for a message about from: with its file where
// that is another.
func (l *loader) lineOf(at, from span) string {
	file, line, _ := l.doc.position(at.from)
	if here, _, _ := l.doc.position(from.from); here != file {
		return fmt.Sprintf("line %d of %s", line, file)
	}
	return fmt.Sprintf("line %d", line)
}

// at is the place of a value, or of the nearest table around it that the files
// have.
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
