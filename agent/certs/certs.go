// Package certs reads certificates, keys and passwords from files, each time
// they are needed: who renews a certificate or changes a password need not tell
// the agent.
package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Files are the PEM files of one TLS client, and what else its connections need.
type Files struct {
	CA   string // certificates that the server's must descend from; empty: the system's
	Cert string // this gateway's certificate chain, for mutual TLS; empty: none
	Key  string // the private key of Cert, mode 0600
	// ServerName is the name or address that the server's certificate must
	// carry. Empty: the name that the connection was dialled with, see For.
	ServerName string
	// Now is the clock that validity is judged by; nil: time.Now.
	Now func() time.Time
}

// Error is a file that cannot be used, and what to do about it.
type Error struct {
	File, Problem, Cure string
	Err                 error // the cause below, where there is one
}

func (e *Error) Error() string {
	s := e.Problem
	if e.File != "" {
		s = e.File + ": " + s
	}
	if e.Cure != "" {
		s += "; " + e.Cure
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Check reads every file and says, as an *Error, what is wrong with the first
// that cannot be used. Validity is judged at the given moment; with the zero
// time it is not, for a gateway whose clock is not set yet.
func (f Files) Check(at time.Time) error {
	if f.CA != "" {
		if _, err := readPool(f.CA); err != nil {
			return err
		}
		if err := validPool(f.CA, at); err != nil {
			return err
		}
	}
	if f.Cert == "" && f.Key == "" {
		return nil
	}
	pair, err := readPair(f.Cert, f.Key)
	if err != nil {
		return err
	}
	if use := pair.Leaf.ExtKeyUsage; len(use) > 0 && !slices.Contains(use, x509.ExtKeyUsageClientAuth) && !slices.Contains(use, x509.ExtKeyUsageAny) {
		return &Error{File: f.Cert, Problem: "this certificate is for servers alone", Cure: "have one made with the extended key usage clientAuth"}
	}
	if at.IsZero() {
		return nil
	}
	return valid(f.Cert, pair.Leaf, at)
}

func (f Files) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

const maxPEM = 1 << 20 // bytes; a system's whole bundle of authorities has a quarter of it

// read is the content of a regular file of at most maxPEM bytes.
func read(file string) ([]byte, error) {
	info, err := os.Stat(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{File: file, Problem: "there is no such file", Cure: "check the path", Err: err}
	case err != nil:
		return nil, &Error{File: file, Problem: err.Error(), Err: err}
	case info.IsDir():
		return nil, &Error{File: file, Problem: "this is a folder", Cure: "name the file in it"}
	case !info.Mode().IsRegular():
		return nil, &Error{File: file, Problem: "this is no ordinary file", Cure: "name a file"}
	case info.Size() > maxPEM:
		return nil, &Error{File: file, Problem: "this file is longer than 1 MiB", Cure: "check the path"}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, &Error{File: file, Problem: err.Error(), Cure: "let the user that runs tocsin read it", Err: err}
	}
	return text, nil
}

// readPool is the certificates of a CA file.
func readPool(file string) (*x509.CertPool, error) {
	text, err := read(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, missing(file, text, "CERTIFICATE")
	}
	return pool, nil
}

// validPool checks that an authority is left whose dates are right; old ones may
// stand beside it.
func validPool(file string, at time.Time) error {
	text, err := read(file)
	if err != nil || at.IsZero() {
		return err
	}
	var first error
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return first
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		switch err := valid(file, cert, at); {
		case err == nil:
			return nil
		case first == nil:
			first = err
		}
	}
}

// readPair is a certificate chain with its key, Leaf parsed.
func readPair(cert, key string) (*tls.Certificate, error) {
	switch {
	case key == "":
		return nil, &Error{File: cert, Problem: "this certificate has no key", Cure: "name the key that it was requested with"}
	case cert == "":
		return nil, &Error{File: key, Problem: "this key has no certificate", Cure: "name the certificate that was requested with it"}
	}
	chain, err := read(cert)
	if err != nil {
		return nil, err
	}
	if err := Private(key); err != nil {
		return nil, err
	}
	private, err := read(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(chain, private)
	if err == nil {
		return &pair, nil
	}
	switch {
	case !hasBlock(chain, "CERTIFICATE"):
		return nil, missing(cert, chain, "CERTIFICATE")
	case hasBlock(private, "ENCRYPTED PRIVATE KEY"), bytes.Contains(private, []byte("Proc-Type: 4,ENCRYPTED")):
		return nil, &Error{File: key, Problem: "the private key is encrypted", Cure: "decrypt it: openssl pkey -in " + key + " -out plain.key", Err: err}
	case !hasBlock(private, "PRIVATE KEY"):
		return nil, missing(key, private, "PRIVATE KEY")
	case strings.Contains(err.Error(), "does not match"):
		return nil, &Error{File: key, Problem: "this key is not the one of the certificate " + cert,
			Cure: "name the key that the certificate was requested with", Err: err}
	}
	return nil, &Error{File: cert, Problem: err.Error(), Cure: "make certificate and key anew", Err: err}
}

// hasBlock reports whether the text holds a PEM block whose type ends in kind.
func hasBlock(text []byte, kind string) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
	}
}

// missing says that a file holds no PEM block of a kind, and what it may be.
func missing(file string, text []byte, kind string) error {
	cure := fmt.Sprintf("it must hold a block that begins -----BEGIN %s-----", kind)
	switch {
	case len(text) > 0 && text[0] == 0x30: // an ASN.1 sequence
		cure = "this is DER; convert it: openssl x509 -inform der -in " + file
		if kind != "CERTIFICATE" {
			cure = "this is DER; convert it: openssl pkey -inform der -in " + file
		}
	case kind == "CERTIFICATE" && hasBlock(text, "PRIVATE KEY"):
		cure = "this is a private key; name the certificate's file"
	case kind != "CERTIFICATE" && hasBlock(text, "CERTIFICATE"):
		cure = "this is a certificate; name the file of its key"
	}
	return &Error{File: file, Problem: "there is no PEM " + kind + " in it", Cure: cure}
}

const day = "2006-01-02 15:04 MST"

// valid checks a certificate's dates.
func valid(name string, cert *x509.Certificate, at time.Time) error {
	switch {
	case at.After(cert.NotAfter):
		return &Error{File: name, Problem: "the certificate expired on " + cert.NotAfter.UTC().Format(day), Cure: "renew it"}
	case at.Before(cert.NotBefore):
		return &Error{File: name, Problem: "the certificate is not valid before " + cert.NotBefore.UTC().Format(day),
			Cure: "check the gateway's clock, which says " + at.UTC().Format(day)}
	}
	return nil
}
