package config

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"tocsin/agent/certs"
)

// file makes the path in v absolute and, where it names a secret, reads that to
// see that the agent will be able to. kind is the field's tag "path".
func (l *loader) file(n *node, v reflect.Value, path []string, kind string) {
	name := v.String()
	if kind == "" {
		return
	}
	if name == "" {
		l.fail(n.value, "name a file, or remove the line", "%s is empty", last(path))
		return
	}
	if strings.Contains(name, "-----BEGIN") {
		l.fail(n.value, fmt.Sprintf("write it into a file, of mode 0600 if it is a key, and name that: %s = \"certs/%s.pem\"", last(path), last(path)),
			"%s is the text of a certificate or key where its file is wanted", last(path))
		v.SetString("")
		l.lost(n)
		return
	}
	credential := kind == "secret" && certs.Find(name) != name
	if !credential && !filepath.IsAbs(name) {
		v.SetString(filepath.Join(l.folder, name))
	}
	if kind != "secret" {
		return
	}
	if _, err := certs.Password(v.String())(); err != nil {
		l.secretFile(n, path, err)
	}
}

// secretFile tells why a secret cannot be read. What stands in the file may be
// the secret itself, written there by mistake, so only a path is printed.
func (l *loader) secretFile(n *node, path []string, err error) {
	var file *certs.Error
	if !errors.As(err, &file) {
		l.fail(n.value, "", "%s: %s", last(path), err)
		return
	}
	if l.doc.isSecret(n.value) && strings.Contains(file.Problem, "no such file") {
		l.fail(n.value, "write the secret alone into a file of mode 0600 and give its path here, with a /; or start tocsin by systemd with LoadCredential=",
			"%s names neither a file beside this one nor a systemd credential", last(path))
		return
	}
	cure := l.display(file, file.Cure)
	if strings.Contains(file.Problem, "no such file") {
		cure = l.display(file, "write the secret into it: install -m 600 /dev/stdin "+file.File)
	}
	l.fail(n.value, cure, "%s", l.display(file, last(path)+" "+file.File+": "+file.Problem))
}

// display is a text about a file with its path as a person would type it here.
func (l *loader) display(e *certs.Error, text string) string {
	return strings.ReplaceAll(text, e.File, l.typed(e.File))
}

// typed is a path below the configuration's folder in the form in which the
// configuration itself was named.
func (l *loader) typed(path string) string {
	if rest, ok := strings.CutPrefix(path, l.folder+string(filepath.Separator)); ok {
		return filepath.Join(filepath.Dir(l.doc.files[0].file), rest)
	}
	return path
}

// CheckCertificates reads every certificate that the configuration names and
// judges their dates at a moment that the caller trusts. The error is of type
// Errors. Load does not judge dates: a gateway may start before its clock is set.
func (c *Config) CheckCertificates(at time.Time) error {
	l := newLoader(c.texts)
	l.parseAll()
	l.config, l.moment = c, at
	l.tls(c.Kafka.TLS, []string{"kafka", "tls"})
	for _, name := range l.names("mqtt") {
		l.tls(c.MQTT[name].TLS, []string{"mqtt", name, "tls"})
	}
	if errs := l.errs.sorted(); len(errs) > 0 {
		return errs
	}
	return nil
}

// tls checks that the certificate files can be used together.
func (l *loader) tls(t *TLS, path []string) {
	if t == nil {
		return
	}
	if l.has(join(path, "server_name")...) {
		l.serverName(t.ServerName, l.at(join(path, "server_name")...))
	}
	if t.CA != "" {
		l.pem(certs.Files{CA: t.CA}, path)
	}
	switch {
	case t.Cert != "" && t.Key != "":
		l.pem(certs.Files{Cert: t.Cert, Key: t.Key}, path)
	case t.Cert != "" && l.root.child(join(path, "key")...) == nil && !l.mayBeBroken("key"):
		l.fail(l.at(join(path, "cert")...), "name the certificate's private key: key = \"…\"", "%s has a cert without its key", l.describe(path))
	case t.Key != "" && l.root.child(join(path, "cert")...) == nil && !l.mayBeBroken("cert"):
		l.fail(l.at(join(path, "key")...), "name the certificate that the key belongs to: cert = \"…\"", "%s has a key without its cert", l.describe(path))
	}
}

// serverName is compared with the names in a certificate, letter by letter.
func (l *loader) serverName(name string, at span) {
	bare := name[strings.LastIndex(name, "/")+1:]
	if host, _, err := net.SplitHostPort(bare); err == nil {
		bare = host
	}
	switch {
	case name == "":
		l.fail(at, "remove the line: the name in the address is compared then", "server_name is empty")
	case bare != name:
		l.fail(at, fmt.Sprintf("write %q", bare), "%q is more than a name", name)
	case strings.HasPrefix(name, "*"):
		l.fail(at, "write one name that the certificate is valid for: kafka"+name[1:], "%q is a pattern; no server is called that", name)
	case strings.ContainsAny(name, " \t,"):
		l.fail(at, "write one name; the certificate of every broker must carry it", "%q is no name", name)
	}
}

func (l *loader) pem(f certs.Files, path []string) {
	var file *certs.Error
	if !errors.As(f.Check(l.moment), &file) {
		return
	}
	key := map[string]string{f.CA: "ca", f.Cert: "cert", f.Key: "key"}[file.File]
	problem, cure := file.File+": "+file.Problem, file.Cure
	for _, name := range []string{f.CA, f.Cert, f.Key} {
		if name != "" {
			problem, cure = strings.ReplaceAll(problem, name, l.typed(name)), strings.ReplaceAll(cure, name, l.typed(name))
		}
	}
	l.fail(l.at(join(path, key)...), cure, "%s %s", key, problem)
}
