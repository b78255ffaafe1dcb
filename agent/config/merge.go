package config

import (
	"os"
	"path/filepath"
)

// Override is a value that two files set. Winner and Loser are its places, as
// file:line:col; Path is the key as TOML writes it: spool.commit.
type Override struct{ Path, Winner, Loser string }

// newLoader makes the loader of some files, of which a later one wins.
func newLoader(texts []source) *loader {
	l := &loader{texts: texts, doc: &document{}, config: Default(), broken: broken{words: map[string]bool{}}}
	if len(texts) > 0 { // none are a Default's
		l.folder, _ = filepath.Abs(filepath.Dir(texts[0].file))
	}
	l.hostname, _ = os.Hostname()
	return l
}

// parseAll makes one tree of all the files.
func (l *loader) parseAll() {
	for i, s := range l.texts {
		l.doc.add(s.file, withoutBOM(s.text))
		if tree := l.parse(); i == 0 {
			l.root = tree
		} else {
			l.merge(l.root, tree, nil)
		}
	}
}

// merge lays a later file's table over an earlier one's, key by key, inline
// tables like any other: what only one of them says stays, of a value or a list
// that both give the later is taken whole.
func (l *loader) merge(into, over *node, path []string) {
	for _, name := range over.names {
		earlier, later := into.named[name], over.named[name]
		switch at := join(path, name); {
		case earlier == nil:
			into.add(name, later)
		case earlier.kind == table && later.kind == table:
			l.merge(earlier, later, at)
		default:
			l.overridden = append(l.overridden, Override{dotted(at), l.doc.place(later.key.from), l.doc.place(earlier.key.from)})
			into.named[name] = later
		}
	}
}
