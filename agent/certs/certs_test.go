package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tocsin/agent/clock"
)

// authority issues certificates for tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-10 * 365 * 24 * time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue signs a certificate for 127.0.0.1 and localhost that change may alter.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// put writes a file of mode 0600, with a time of change of its own.
func put(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	stamps++
	at := time.Now().Add(time.Duration(stamps) * time.Second)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
	return path
}

var stamps int

// serve answers TLS handshakes on loopback with the given certificate until the
// test ends, and sends what each client showed.
func serve(t *testing.T, cert, key []byte, clients *authority) (address string, shown <-chan *x509.Certificate) {
	t.Helper()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}}
	if clients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AddCert(clients.cert)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	seen, done := make(chan *x509.Certificate, 8), make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
			if tc, ok := conn.(*tls.Conn); ok && tc.Handshake() == nil && clients != nil {
				seen <- tc.ConnectionState().PeerCertificates[0]
			}
			conn.Close()
		}
	}()
	t.Cleanup(func() { listener.Close(); <-done })
	return listener.Addr().String(), seen
}

// dial makes one connection as the agent does.
func dial(t *testing.T, c *tls.Config, address, as string) error {
	t.Helper()
	raw, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_ = raw.SetDeadline(time.Now().Add(5 * time.Second))
	conn := tls.Client(raw, For(c, as))
	return conn.Handshake()
}

// Who stands in the middle is refused, whatever is wrong with what it shows, and
// the message says what that is.
func TestServerIsChecked(t *testing.T) {
	ca, other := newAuthority(t, "plant"), newAuthority(t, "elsewhere")
	file := put(t, filepath.Join(t.TempDir(), "ca.pem"), ca.pem())
	named := func(names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames, c.IPAddresses = names, nil }
	}
	for name, c := range map[string]struct {
		issuer *authority
		change func(*x509.Certificate)
		as     string
		files  Files
		want   string // part of the error; empty: accepted
	}{
		"right name":          {ca, nil, "localhost:8883", Files{}, ""},
		"right address":       {ca, nil, "127.0.0.1:8883", Files{}, ""},
		"wrong authority":     {other, nil, "localhost:8883", Files{}, "descends from none in"},
		"wrong name":          {ca, named("kafka.elsewhere.example"), "localhost:8883", Files{}, "not for localhost, but for kafka.elsewhere.example"},
		"wrong address":       {ca, named("kafka.elsewhere.example"), "127.0.0.1:8883", Files{}, "not for 127.0.0.1, but for kafka.elsewhere.example"},
		"no name in it":       {ca, named(), "localhost:8883", Files{}, "no name at all"},
		"server_name":         {ca, named("kafka.plant.example"), "127.0.0.1:8883", Files{ServerName: "kafka.plant.example"}, ""},
		"server_name wrong":   {ca, nil, "127.0.0.1:8883", Files{ServerName: "kafka.plant.example"}, "not for kafka.plant.example"},
		"expired":             {ca, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotBefore }, "localhost:1", Files{}, "expired on"},
		"not yet valid":       {ca, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(30 * time.Minute) }, "localhost:1", Files{}, "check the gateway's clock"},
		"for clients only":    {ca, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, "localhost:1", Files{}, "server authentication"},
		"clock far behind":    {ca, nil, "localhost:1", Files{Now: func() time.Time { return time.Unix(0, 0) }}, "clock, which says 1970-01-01"},
		"clock not set":       {ca, nil, "localhost:1", Files{Now: unset(time.Now())}, ""},
		"expired, not set":    {ca, nil, "localhost:1", Files{Now: unset(time.Now().Add(2 * time.Hour))}, "expired on"},
		"name wildcard deep":  {ca, named("*.example"), "a.b.example:1", Files{}, "not for a.b.example"},
		"name wildcard right": {ca, named("*.plant.example"), "kafka.plant.example:1", Files{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := c.issuer.issue(t, c.change)
			address, _ := serve(t, cert, key, nil)
			c.files.CA = file
			config, err := Client(c.files)
			if err != nil {
				t.Fatal(err)
			}
			err = dial(t, config, address, c.as)
			var said *Error
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && err == nil:
				t.Error("the connection is accepted")
			case c.want != "" && (!errors.As(err, &said) || said.Cure == "" || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want an Error with %q", err, c.want)
			}
		})
	}
}

// unset is the time of a gateway that starts in 1970 and remembers when its
// clock was right last.
func unset(last time.Time) func() time.Time {
	c := clock.With(clock.Options{Wall: func() time.Time { return time.Unix(0, 0) }, Synced: func() bool { return false }})
	c.Remember(last)
	return c.TLSTime
}

// Without For a connection to an address cannot be checked, and is refused.
func TestUnknownNameIsRefused(t *testing.T) {
	ca := newAuthority(t, "plant")
	cert, key := ca.issue(t, nil)
	address, _ := serve(t, cert, key, nil)
	config, err := Client(Files{CA: put(t, filepath.Join(t.TempDir(), "ca.pem"), ca.pem())})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := tls.Dial("tcp", address, config)
	if err == nil {
		conn.Close()
		t.Fatal("accepted")
	}
	if !strings.Contains(err.Error(), "server_name") {
		t.Error(err)
	}
}

// Without a CA of its own the system's is asked, with names and chain.
func TestSystemAuthorities(t *testing.T) {
	ca := newAuthority(t, "plant")
	cert, key := ca.issue(t, nil)
	address, _ := serve(t, cert, key, nil)
	config, err := Client(Files{})
	if err != nil {
		t.Fatal(err)
	}
	if config.InsecureSkipVerify || config.MinVersion != tls.VersionTLS12 {
		t.Error("crypto/tls does not check")
	}
	if dial(t, config, address, "localhost:1") == nil {
		t.Error("a private authority is accepted")
	}
}

// Certificates that are replaced are used from the next connection on, the
// client's and the authority's; half a replacement keeps what was there.
func TestReload(t *testing.T) {
	first, second := newAuthority(t, "first"), newAuthority(t, "second")
	dir := t.TempDir()
	f := Files{CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "gw.pem"), Key: filepath.Join(dir, "gw.key")}
	cert, key := first.issue(t, nil)
	put(t, f.CA, first.pem())
	put(t, f.Cert, cert)
	put(t, f.Key, key)
	config, err := Client(f)
	if err != nil {
		t.Fatal(err)
	}
	serverCert, serverKey := first.issue(t, nil)
	address, shown := serve(t, serverCert, serverKey, first)
	serial := func(address string, shown <-chan *x509.Certificate) *big.Int {
		t.Helper()
		if err := dial(t, config, address, address); err != nil {
			t.Fatal(err)
		}
		return (<-shown).SerialNumber
	}
	before := serial(address, shown)

	cert, key = first.issue(t, nil)
	put(t, f.Cert, cert) // the key is still the old one
	if got := serial(address, shown); got.Cmp(before) != 0 {
		t.Error("a certificate is used without its key")
	}
	put(t, f.Key, key)
	after := serial(address, shown)
	if after.Cmp(before) == 0 {
		t.Error("the new certificate is not used")
	}
	if err := os.Remove(f.Cert); err != nil {
		t.Fatal(err)
	}
	if got := serial(address, shown); got.Cmp(after) != 0 {
		t.Error("a certificate that was deleted is forgotten at once")
	}

	put(t, f.Cert, cert)
	put(t, f.CA, second.pem())
	if err := dial(t, config, address, address); err == nil {
		t.Error("the authority that was replaced is still trusted")
	}
	serverCert, serverKey = second.issue(t, nil)
	address, shown = serve(t, serverCert, serverKey, first)
	serial(address, shown)
}

// The gateway's own certificate: dates are judged at each connection, not at the
// start, when the clock may not be set.
func TestOwnCertificateExpires(t *testing.T) {
	ca := newAuthority(t, "plant")
	dir := t.TempDir()
	cert, key := ca.issue(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotBefore })
	f := Files{CA: put(t, filepath.Join(dir, "ca.pem"), ca.pem()), Cert: put(t, filepath.Join(dir, "gw.pem"), cert), Key: put(t, filepath.Join(dir, "gw.key"), key)}
	config, err := Client(f)
	if err != nil {
		t.Fatal(err)
	}
	serverCert, serverKey := ca.issue(t, nil)
	address, _ := serve(t, serverCert, serverKey, ca)
	err = dial(t, config, address, address)
	if err == nil || !strings.Contains(err.Error(), f.Cert+": the certificate expired on 20") || !strings.Contains(err.Error(), "renew it") {
		t.Errorf("%v", err)
	}
	if err := f.Check(time.Now()); err == nil {
		t.Error("Check accepts it")
	}
	if err := f.Check(time.Now().Add(-90 * time.Minute)); err != nil {
		t.Error(err)
	}
}

// Check judges the authorities' dates, of which one must be right, and what the
// gateway's certificate may be used for.
func TestCheckOfUse(t *testing.T) {
	ca := newAuthority(t, "plant")
	dir := t.TempDir()
	old, _ := ca.issue(t, func(c *x509.Certificate) { c.NotBefore, c.NotAfter = c.NotBefore.Add(-time.Hour), c.NotBefore })
	cert, key := ca.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] })
	put(t, filepath.Join(dir, "gw.key"), key)
	for name, c := range map[string]struct {
		files Files
		want  string
	}{
		"expired":           {Files{CA: put(t, filepath.Join(dir, "old.pem"), old)}, "old.pem: the certificate expired on"},
		"one of two":        {Files{CA: put(t, filepath.Join(dir, "both.pem"), append(old, ca.pem()...))}, ""},
		"for servers alone": {Files{Cert: put(t, filepath.Join(dir, "gw.pem"), cert), Key: filepath.Join(dir, "gw.key")}, "clientAuth"},
	} {
		err := c.files.Check(time.Now())
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Files that cannot be used are named, with the cure.
func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "plant")
	cert, key := ca.issue(t, nil)
	_, otherKey := ca.issue(t, nil)
	block, _ := pem.Decode(cert)
	file := func(name string, text []byte) string { return put(t, filepath.Join(dir, name), text) }
	good, goodKey := file("gw.pem", cert), file("gw.key", key)
	open := file("open.key", key)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	broken := file("broken.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no ASN.1")}))
	for name, c := range map[string]struct {
		files Files
		want  []string
	}{
		"missing":           {Files{CA: filepath.Join(dir, "none.pem")}, []string{"none.pem", "no such file"}},
		"folder":            {Files{CA: dir}, []string{dir, "folder"}},
		"device":            {Files{CA: "/dev/zero"}, []string{"/dev/zero", "no ordinary file"}},
		"no PEM":            {Files{CA: file("x", []byte("x"))}, []string{"no PEM CERTIFICATE", "BEGIN CERTIFICATE"}},
		"empty":             {Files{CA: file("y", nil)}, []string{"no PEM CERTIFICATE"}},
		"broken":            {Files{CA: broken}, []string{"broken.pem", "no PEM CERTIFICATE"}},
		"DER":               {Files{CA: file("gw.der", block.Bytes)}, []string{"openssl x509 -inform der"}},
		"key for cert":      {Files{Cert: goodKey, Key: goodKey}, []string{"gw.key", "this is a private key"}},
		"cert for key":      {Files{Cert: good, Key: good}, []string{"gw.pem", "this is a certificate"}},
		"key of another":    {Files{Cert: good, Key: file("other.key", otherKey)}, []string{"other.key", "not the one of the certificate", "gw.pem"}},
		"key open":          {Files{Cert: good, Key: open}, []string{"mode 0644", "chmod 600 " + open}},
		"key encrypted":     {Files{Cert: good, Key: file("enc.key", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))}, []string{"encrypted", "openssl pkey"}},
		"cert without key":  {Files{Cert: good}, []string{"key"}},
		"key without cert":  {Files{Key: goodKey}, []string{"certificate"}},
		"too long":          {Files{CA: file("long", make([]byte, maxPEM+1))}, []string{"longer than"}},
		"broken with a key": {Files{Cert: broken, Key: goodKey}, []string{"broken.pem"}},
	} {
		_, err := Client(c.files)
		var said *Error
		if !errors.As(err, &said) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
		if strings.Contains(err.Error(), "PRIVATE KEY-----\n") {
			t.Errorf("%s: a key is printed", name)
		}
	}
}

func TestPassword(t *testing.T) {
	dir, credentials := t.TempDir(), t.TempDir()
	t.Setenv(CredentialsDirectory, credentials)
	t.Chdir(dir)
	file := put(t, filepath.Join(dir, "mqtt"), []byte("hunter2\r\n"))
	ask := Password(file)
	if got, err := ask(); got != "hunter2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	put(t, file, []byte(" pass word \n\n"))
	if _, err := ask(); err == nil {
		t.Error("two lines are accepted")
	}
	put(t, file, []byte(" pass word "))
	if got, err := ask(); got != " pass word " || err != nil {
		t.Errorf("a changed file: %q, %v", got, err)
	}

	// A bare name: the credential wins, its access list notwithstanding.
	credential := put(t, filepath.Join(credentials, "mqtt"), []byte("from systemd"))
	if err := os.Chmod(credential, 0o440); err != nil {
		t.Fatal(err)
	}
	if got, err := Password("mqtt")(); got != "from systemd" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := Password("./mqtt")(); got != " pass word " || err != nil {
		t.Errorf("a path is no credential: %q, %v", got, err)
	}

	for text, want := range map[string]string{"": "no password", "\n": "no password", "a\nb": "more than one line"} {
		put(t, file, []byte(text))
		if _, err := ask(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, mode := range []os.FileMode{0o604, 0o640, 0o622} {
		if err := os.Chmod(file, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ask(); err == nil || !strings.Contains(err.Error(), "chmod 600 "+file) {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if _, err := Password(filepath.Join(dir, "none"))(); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}
