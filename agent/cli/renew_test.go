package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// porter lets in who knows the password; none is asked for where it is empty.
type porter struct {
	mochi.HookBase
	password   string
	subscribed atomic.Int64 // how often somebody has
}

func (*porter) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck || b == mochi.OnSubscribed
}
func (p *porter) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	return p.password == "" || string(pk.Connect.Password) == p.password
}
func (p *porter) OnSubscribed(*mochi.Client, packets.Packet, []byte) { p.subscribed.Add(1) }
func (*porter) OnACLCheck(*mochi.Client, string, bool) bool          { return true }

// mqttBroker is a broker in this process, and its address.
func mqttBroker(t *testing.T, p *porter, secure *tls.Config) (*mochi.Server, string) {
	t.Helper()
	server := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0", TLSConfig: secure})
	for _, err := range []error{server.AddHook(p, nil), server.AddListener(l), server.Serve()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = server.Close() })
	return server, l.Address()
}

// authority signs certificates for 127.0.0.1.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, own, own, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if own, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return authority{own, key}
}

func (a authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func (a authority) issue(t *testing.T, serial int64) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}, a.cert, &private.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// Passwords and certificates are renewed without a reload: a source that the
// broker refuses comes back by itself, and the next connection shows the new
// certificate.
func TestSecretsRenewThemselves(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, 10)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AddCert(ca.cert)
	var shown atomic.Int64 // serial of the gateway's certificate
	broker, address := mqttBroker(t, &porter{password: "new"}, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: clients,
		ClientAuth: tls.RequireAndVerifyClientCert, VerifyConnection: func(c tls.ConnectionState) error {
			shown.Store(c.PeerCertificates[0].SerialNumber.Int64())
			return nil
		}})
	dir := t.TempDir()
	for serial, name := range []string{"first", "second"} {
		cert, key := ca.issue(t, int64(serial+1))
		for file, content := range map[string][]byte{"/" + name + ".pem": cert, "/" + name + ".key": key, "/ca.pem": ca.pem(), "/password": []byte("old\n")} {
			if err := os.WriteFile(dir+file, content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	file := fmt.Sprintf("[mqtt.hall]\nbroker = \"tls://%s\"\nclient_id = \"c\"\nusername = \"edge\"\npassword_file = \"%s/password\"\n"+
		"tls = {ca = \"%[2]s/ca.pem\", cert = \"%[2]s/first.pem\", key = \"%[2]s/first.key\"}\ntopics = [{topic = \"x\", channel = \"a.x\"}]\n", address, dir)
	s := newGateway(t, file)
	source := s.source("mqtt.hall")
	s.until("the old password is refused", func() bool { return source.Status().State == "waiting" })
	connected := func() bool { c, ok := broker.Clients.Get("c"); return ok && !c.Closed() }
	if err := os.WriteFile(dir+"/password", []byte("new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.until("the source is back by itself", connected)
	if shown.Load() != 1 {
		t.Errorf("certificate %d was shown", shown.Load())
	}
	for _, ending := range []string{".pem", ".key"} {
		if err := os.Rename(dir+"/second"+ending, dir+"/first"+ending); err != nil {
			t.Fatal(err)
		}
	}
	if c, ok := broker.Clients.Get("c"); ok {
		c.Stop(fmt.Errorf("the broker is restarted"))
	}
	s.until("the new certificate is shown", func() bool { return shown.Load() == 2 && connected() })
	if strings.Contains(s.log.String(), "msg=reloaded") {
		t.Error("it took a reload")
	}
}

// Messages come at QoS 0, which nobody sends again, while other things are
// reloaded fifty times: every one is judged.
func TestReloadLosesNoMessage(t *testing.T) {
	p := &porter{}
	broker, address := mqttBroker(t, p, nil)
	settings := func(n int) string {
		return fmt.Sprintf("[mqtt.hall]\nbroker = \"tcp://%s\"\nqos = 0\ntopics = [{topic = \"hall/+\", channel = \"{1}.x\"}]\n"+
			"[simulate.b]\ninterval = \"%dms\"\n[detect]\nlearn = %d\n[limit.\"b1.pressure\"]\nhigh = %d\n[alarms]\nupdate = \"%[2]dm\"\n",
			address, 1+n, 100+n, 50+n)
	}
	s := newGateway(t, settings(0))
	s.until("the source listens", func() bool { return p.subscribed.Load() > 0 })
	published := uint64(0)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(time.Millisecond); ; {
			select {
			case <-tick.C:
				if err := broker.Publish(fmt.Sprintf("hall/m%d", published%3), []byte("1.5"), false, 0); err != nil {
					t.Error(err)
				}
				published++
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	for n := range 50 {
		time.Sleep(10 * time.Millisecond)
		if report := s.reload(settings(n + 1)); strings.Contains(report, "everything") || strings.Contains(report, "mqtt") {
			t.Fatal(report)
		}
	}
	close(stop)
	<-stopped
	c := &s.source("mqtt.hall").Writer.Counters
	s.until("everything is read and judged", func() bool { return c.Judged.Load() == published })
	if published < 300 || c.Read.Load() != c.Judged.Load() || p.subscribed.Load() != 1 {
		t.Errorf("published %d, read %d, judged %d, subscribed %d times", published, c.Read.Load(), c.Judged.Load(), p.subscribed.Load())
	}
	if b := &s.source("simulate.b").Writer.Counters; b.Read.Load() < 50 {
		t.Errorf("the ledger of what was reloaded began anew: %d read", b.Read.Load())
	}
}
