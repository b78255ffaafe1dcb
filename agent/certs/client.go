package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Client is a TLS configuration of at least version 1.2 that reads f's files
// again when they change. Every connection is checked against chain, name, dates
// and usage; there is no way to turn that off. The error is an *Error.
//
// Before dialling, take For of it: a connection to an address cannot be checked
// otherwise.
func Client(f Files) (*tls.Config, error) {
	if err := f.Check(time.Time{}); err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName, Time: f.now}
	if f.Cert != "" {
		own := &watched[tls.Certificate]{files: []string{f.Cert, f.Key}, read: func() (*tls.Certificate, error) { return readPair(f.Cert, f.Key) }}
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := own.get()
			if err != nil {
				return nil, err
			}
			return pair, valid(f.Cert, pair.Leaf, f.now())
		}
	}
	if f.CA != "" {
		// A changed pool can be had only by checking here. crypto/tls then checks
		// nothing by itself, so verify does all of it.
		pool := &watched[x509.CertPool]{files: []string{f.CA}, read: func() (*x509.CertPool, error) { return readPool(f.CA) }}
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error { return f.verify(pool, s) }
	}
	return c, nil
}

// For is a copy of a configuration from Client for a connection to address, a
// "host:port" or a host: the server's certificate must carry ServerName where
// that is set, else this host. Nil stays nil.
func For(c *tls.Config, address string) *tls.Config {
	if c == nil {
		return nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	c = c.Clone()
	if c.ServerName == "" {
		c.ServerName = host
	}
	if verify := c.VerifyConnection; verify != nil {
		name := c.ServerName
		c.VerifyConnection = func(s tls.ConnectionState) error {
			s.ServerName = name // crypto/tls leaves it empty for an IP address
			return verify(s)
		}
	}
	return c
}

// verify is the check of crypto/tls with a pool of its own: chain, dates, usage
// and name (RFC 5280 section 6, RFC 6125 section 6).
func (f Files) verify(pool *watched[x509.CertPool], s tls.ConnectionState) error {
	roots, err := pool.get()
	if err != nil {
		return err
	}
	name := s.ServerName
	if name == "" {
		name = f.ServerName
	}
	if name == "" {
		return &Error{Problem: "the server's certificate cannot be checked: its name is not known", Cure: "set server_name"}
	}
	if len(s.PeerCertificates) == 0 {
		return &Error{Problem: "the server showed no certificate", Cure: "check that this port speaks TLS"}
	}
	leaf, now := s.PeerCertificates[0], f.now()
	between := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: name, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err == nil {
		return nil
	}
	if dates := valid("the server "+name, leaf, now); dates != nil {
		return dates
	}
	var wrongName x509.HostnameError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &wrongName):
		return &Error{Problem: "the server's certificate is not for " + name + ", but for " + names(leaf), Err: err,
			Cure: "connect by a name that it carries, or set server_name to one"}
	case errors.As(err, &unknown):
		return &Error{Problem: "the server's certificate (" + leaf.Issuer.String() + ") descends from none in " + f.CA, Err: err,
			Cure: "name with ca the certificate of the authority that issued it"}
	}
	return &Error{Problem: "the server's certificate is refused: " + err.Error(), Err: err, Cure: "have it issued for server authentication"}
}

// names lists what a certificate is for.
func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name at all"
	}
	return strings.Join(all, ", ")
}

// watched is what was read from files, read again when one of them changes. Safe
// for concurrent use.
type watched[T any] struct {
	files []string
	read  func() (*T, error)

	mu    sync.Mutex
	seen  [2]os.FileInfo // of files, at most two, when they were read
	value *T
}

// same reports whether two looks at a file saw the same content, as far as can
// be told without reading it.
func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}

// get is the newest content that can be used. Files that were replaced only
// halfway keep the content before, and are tried again at their next change.
func (w *watched[T]) get() (*T, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var now [2]os.FileInfo
	for i, file := range w.files {
		if info, err := os.Stat(file); err == nil {
			now[i] = info
		}
	}
	if w.value != nil && same(now[0], w.seen[0]) && same(now[1], w.seen[1]) {
		return w.value, nil
	}
	value, err := w.read()
	if err != nil && w.value == nil {
		return nil, err
	}
	w.seen = now
	if err != nil {
		slog.Warn("a certificate file changed and cannot be used; the one before stays", "error", err)
		return w.value, nil
	}
	w.value = value
	return w.value, nil
}
