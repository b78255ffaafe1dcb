package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/auth"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"tocsin/sensors"
	"tocsin/sensors/sensortest"
)

// patience is how long these tests wait for what must happen.
const patience = 5 * time.Second

// hook lets a test see and refuse what the in-process broker does.
type hook struct {
	mochi.HookBase
	mu      sync.Mutex
	refuse  string // filter that nobody may subscribe to
	filters []string
	acked   int
}

func (h *hook) Provides(b byte) bool {
	return b == mochi.OnACLCheck || b == mochi.OnConnectAuthenticate || b == mochi.OnSubscribed || b == mochi.OnQosComplete
}
func (h *hook) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	return string(pk.Connect.Password) != "wrong"
}
func (h *hook) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return write || topic != h.refuse
}
func (h *hook) OnSubscribed(_ *mochi.Client, pk packets.Packet, _ []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range pk.Filters {
		h.filters = append(h.filters, f.Filter)
	}
}
func (h *hook) OnQosComplete(c *mochi.Client, _ packets.Packet) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if strings.HasPrefix(c.ID, "tocsin-") { // not what the broker itself acknowledges
		h.acked++
	}
}
func (h *hook) get(f func(*hook)) { h.mu.Lock(); defer h.mu.Unlock(); f(h) }

// broker is the far end: Mosquitto where the environment names one, else mochi
// in this process. The source reaches it through a proxy, which can be cut.
type broker struct {
	*hook
	addr   string // host:port of the broker itself
	server *mochi.Server
	proxy  *proxy
}

var quietLog = slog.New(slog.DiscardHandler)

// embedded starts a broker at addr, ":0" style.
func embedded(t testing.TB, addr string, h *hook) *mochi.Server {
	t.Helper()
	caps := mochi.NewDefaultServerCapabilities()
	s := mochi.New(&mochi.Options{Logger: quietLog, Capabilities: caps})
	var with mochi.Hook = new(auth.AllowHook)
	if h != nil {
		with = h
	}
	if err := s.AddHook(with, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(50 * time.Millisecond); atomic.LoadInt64(&s.Info.ClientsConnected) > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		kill(s)
	})
	return s
}

// kill closes a broker. Its Close panics the second time, and it may lock itself
// up when a client leaves at the same moment: it is left behind then.
func kill(s *mochi.Server) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		_ = s.Close()
	}()
	select {
	case <-done:
	case <-time.After(time.Second):
	}
}

func newBroker(t testing.TB) *broker {
	t.Helper()
	b := &broker{hook: &hook{}}
	b.server = embedded(t, "127.0.0.1:0", b.hook)
	l, _ := b.server.Listeners.Get("tcp")
	b.addr = l.Address()
	b.proxy = newProxy(t, b.addr)
	return b
}

// realBroker is the one that an environment variable names.
func realBroker(t testing.TB, env string) (*broker, *url.URL) {
	t.Helper()
	v := os.Getenv(env)
	if v == "" {
		t.Skipf("%s is not set: no real broker to test against", env)
	}
	u, err := url.Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	b := &broker{addr: u.Host, proxy: newProxy(t, u.Host)}
	return b, u
}

// proxy passes bytes on until it is cut.
type proxy struct {
	to   string
	mu   sync.Mutex
	l    net.Listener
	addr string
	open map[net.Conn]bool
	wg   sync.WaitGroup
	seen bool
}

func newProxy(t testing.TB, to string) *proxy {
	p := &proxy{to: to, addr: "127.0.0.1:0", open: map[net.Conn]bool{}}
	p.mend(t)
	t.Cleanup(func() { p.cut(t); p.wg.Wait() })
	return p
}

func (p *proxy) mend(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	p.l, p.addr = l, l.Addr().String()
	p.mu.Unlock()
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.seen = true
			p.mu.Unlock()
			far, err := net.Dial("tcp", p.to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.pass(c, far)
			p.pass(far, c)
		}
	}()
}

func (p *proxy) pass(from, to net.Conn) {
	p.mu.Lock()
	p.open[from] = true
	p.mu.Unlock()
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		_, _ = io.Copy(to, from)
		_, _ = to.Close(), from.Close()
		p.mu.Lock()
		delete(p.open, from)
		p.mu.Unlock()
	}()
}

func (p *proxy) cut(t testing.TB) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.l.Close()
	for c := range p.open {
		_ = c.Close()
	}
}

func (p *proxy) touched() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.seen }

// sender publishes to a broker, as a sensor does.
type sender struct {
	paho.Client
	t testing.TB
}

func newSender(t testing.TB, address string, with func(*paho.ClientOptions)) *sender {
	t.Helper()
	o := paho.NewClientOptions().AddBroker(address).SetClientID(fmt.Sprintf("sender-%d", time.Now().UnixNano()))
	if with != nil {
		with(o)
	}
	c := paho.NewClient(o)
	if tok := c.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("connect the sender to %s: %v", address, tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(100) })
	return &sender{c, t}
}

// say publishes and returns when the broker has it.
func (s *sender) say(topic string, qos byte, payload string) {
	s.t.Helper()
	if tok := s.Publish(topic, qos, false, payload); !tok.WaitTimeout(patience) || tok.Error() != nil {
		s.t.Fatalf("publish to %s: %v", topic, tok.Error())
	}
}

// options reads what newSender's broker gets, through the proxy.
func (b *broker) options(qos int, topics ...Topic) Options {
	return Options{Name: "test", Broker: "tcp://" + b.proxy.addr, ClientID: fmt.Sprintf("tocsin-%d", time.Now().UnixNano()),
		QoS: qos, KeepAlive: 2 * time.Second, Topics: topics}
}

func source(t testing.TB, o Options) *Source {
	t.Helper()
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: not %s", patience, what)
		}
	}
}

// access is how to get into a real broker.
type access struct {
	name, env string
	with      func(*testing.T, *Options)
}

// certificates are those of the folder that TOCSIN_TEST_CERTS names.
func certificates(t *testing.T, mutual bool) *tls.Config {
	t.Helper()
	dir := os.Getenv("TOCSIN_TEST_CERTS")
	if dir == "" {
		t.Skip("TOCSIN_TEST_CERTS is not set: no certificates to test with")
	}
	pem, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	c.RootCAs.AppendCertsFromPEM(pem)
	if mutual {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.pem"), filepath.Join(dir, "client.key"))
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

var accesses = []access{
	{"plain", "TOCSIN_TEST_MQTT", func(*testing.T, *Options) {}},
	{"TLS and password", "TOCSIN_TEST_MQTT_TLS", func(t *testing.T, o *Options) {
		o.TLS, o.Username = certificates(t, false), "edge"
		o.Password = func() (string, error) { return "edge-secret", nil }
	}},
	{"mutual TLS", "TOCSIN_TEST_MQTT_MTLS", func(t *testing.T, o *Options) { o.TLS = certificates(t, true) }},
}

// layout is one way in which the contract suite's readings travel.
type layout struct {
	name     string
	qos      int
	found    bool
	times    bool
	channels []sensors.Channel
	topics   func(root string) []Topic
	say      func(s *sender, root string, qos byte, frame []sensors.Sample)
	bad      func(s *sender, root string, qos byte) int
}

var suiteChannels = []sensors.Channel{{Name: "pump1.vibration", Unit: "mm/s"}, {Name: "pump1.bearing", Unit: "Cel"}}

func jsonLayout(name string, qos int) layout {
	return layout{name: name, qos: qos, times: true, channels: suiteChannels,
		topics: func(root string) []Topic {
			row := Topic{Topic: root + "/pump1", Pointer: "/rms", Time: "/t", TimeFormat: "unix_ms", Channel: "pump1.vibration", Unit: "mm/s"}
			other := row
			other.Pointer, other.Channel, other.Unit = "/temp", "pump1.bearing", "Cel"
			return []Topic{row, other}
		},
		say: func(s *sender, root string, qos byte, f []sensors.Sample) {
			s.say(root+"/pump1", qos, fmt.Sprintf(`{"t":%d,"rms":%v,"temp":"%v"}`, f[0].Time/1e6, f[0].Value, f[1].Value))
		},
		bad: func(s *sender, root string, qos byte) int {
			s.say(root+"/pump1", qos, `{"t":1,"rms":NaN,"temp":null}`)
			s.say(root+"/pump1", qos, `{"t":"soon","rms":1,"temp":[]}`)
			s.say(root+"/pump1", qos, `{"t":1,"rms":1`)
			return 5
		}}
}

func wildcardLayout() layout {
	return layout{name: "wildcard, QoS 1", qos: 1, found: true, channels: suiteChannels[:1],
		topics: func(root string) []Topic {
			return []Topic{{Topic: root + "/+/+", Channel: "{1}.{2}", Unit: "mm/s"}}
		},
		say: func(s *sender, root string, qos byte, f []sensors.Sample) {
			s.say(root+"/pump1/vibration", qos, fmt.Sprint(f[0].Value))
		},
		bad: func(s *sender, root string, qos byte) int {
			s.say(root+"/pump1/vibration", qos, "offline")
			s.say(root+"/pump 1/vibration", qos, "1")
			return 2
		}}
}

// suite runs the contract of sensors.Source.
func (l layout) suite(t *testing.T, start func(*testing.T) (*broker, *sender, Options)) {
	t.Run(l.name, func(t *testing.T) {
		sensortest.Run(t, sensortest.Case{Channels: l.channels, Found: l.found, Times: l.times,
			New: func(t *testing.T) (sensors.Source, *sensortest.Device) {
				b, s, o := start(t)
				root := "suite/" + o.ClientID
				o.QoS, o.Topics = l.qos, l.topics(root)
				return source(t, o), &sensortest.Device{
					Name: b.proxy.addr,
					Feed: func(t testing.TB, all []sensors.Sample) {
						for n := len(l.channels); len(all) >= n; all = all[n:] {
							l.say(s, root, byte(max(1, l.qos)), all[:n]) // delivered at the lower QoS of the two
						}
					},
					Bad:     func(t testing.TB) int { return l.bad(s, root, byte(max(1, l.qos))) },
					Break:   b.proxy.cut,
					Mend:    b.proxy.mend,
					Touched: b.proxy.touched,
				}
			}})
	})
}

func TestContract(t *testing.T) {
	start := func(t *testing.T) (*broker, *sender, Options) {
		b := newBroker(t)
		return b, newSender(t, "tcp://"+b.addr, nil), b.options(1)
	}
	for _, l := range []layout{jsonLayout("JSON, QoS 0", 0), jsonLayout("JSON, QoS 1", 1), wildcardLayout()} {
		l.suite(t, start)
	}
}

// TLS and WebSockets carry the same readings, and plain TCP those of QoS 2.
func TestTransports(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate
	defer web.Close()
	server := &tls.Config{Certificates: web.TLS.Certificates, MinVersion: tls.VersionTLS12}
	client := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	client.RootCAs.AddCert(web.Certificate())
	b := newBroker(t)
	for scheme, listen := range map[string]func(listeners.Config) listeners.Listener{
		"mqtt": func(c listeners.Config) listeners.Listener { return listeners.NewTCP(c) },
		"tls":  func(c listeners.Config) listeners.Listener { return listeners.NewTCP(c) },
		"ws":   func(c listeners.Config) listeners.Listener { return listeners.NewWebsocket(c) },
		"wss":  func(c listeners.Config) listeners.Listener { return listeners.NewWebsocket(c) },
	} {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := free.Addr().String()
		_ = free.Close()
		c := listeners.Config{ID: scheme, Address: addr}
		if scheme == "tls" || scheme == "wss" {
			c.TLSConfig = server
		}
		l := listen(c)
		if err := b.server.AddListener(l); err != nil {
			t.Fatal(err)
		}
		go l.Serve(b.server.EstablishConnection)
		t.Run(scheme, func(t *testing.T) {
			qos := byte(1)
			if scheme == "mqtt" {
				qos = 2
			}
			o := b.options(int(qos), value(scheme))
			o.Broker, o.TLS = scheme+"://"+addr, client
			b.get(func(h *hook) { h.filters, h.acked = nil, 0 })
			r := sensortest.Start(t, source(t, o))
			b.subscribed(t, 1)
			pub := newSender(t, "tcp://"+b.addr, nil)
			for i := range 50 {
				pub.say(scheme, qos, fmt.Sprint(i))
			}
			r.Wait(t, 50, patience)
			until(t, "acknowledged", func() bool { return b.complete() == 50 })
			r.Stop(t)
		})
	}
}

func TestContractAgainstMosquitto(t *testing.T) {
	for _, a := range accesses {
		t.Run(a.name, func(t *testing.T) {
			start := func(t *testing.T) (*broker, *sender, Options) {
				b, u := realBroker(t, a.env)
				o := b.options(1)
				a.with(t, &o)
				if o.TLS != nil {
					o.Broker = "tls://" + b.proxy.addr
					o.TLS.ServerName = u.Hostname()
				}
				return b, newSender(t, u.Scheme+"://"+u.Host, func(p *paho.ClientOptions) {
					p.SetTLSConfig(o.TLS).SetUsername(o.Username)
					if o.Password != nil {
						secret, _ := o.Password()
						p.SetPassword(secret)
					}
				}), o
			}
			if os.Getenv(a.env) == "" {
				t.Skipf("%s is not set: no real broker to test against", a.env)
			}
			for _, l := range []layout{jsonLayout("JSON, QoS 0", 0), jsonLayout("JSON, QoS 1", 1), wildcardLayout()} {
				l.suite(t, start)
			}
		})
	}
}
