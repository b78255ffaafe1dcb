package mqtt

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tocsin/sensors"
	"tocsin/sensors/sensortest"
)

// value is the one channel of most of these tests.
func value(topic string) Topic { return Topic{Topic: topic, Channel: "m.x"} }

// running starts a source that the test judges by hand, and stops it.
func running(t *testing.T, s *Source, batches, samples int) (*sensors.Queue, *sensors.Writer) {
	t.Helper()
	q := sensors.NewQueue(batches, samples, 100)
	w, err := q.Writer("mqtt", s.Channels())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := s.Run(ctx, w); err != nil {
				t.Logf("Run: %v", err)
				time.Sleep(10 * time.Millisecond)
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return q, w
}

// take judges the next batch without releasing it.
func take(t *testing.T, q *sensors.Queue) *sensors.Batch {
	t.Helper()
	b, err := q.Take(time.After(patience))
	if err != nil || b == nil {
		t.Fatalf("no batch within %v: %v", patience, err)
	}
	b.From().Counters.Judged.Add(uint64(len(b.Samples)))
	return b
}

func (b *broker) subscribed(t *testing.T, n int) {
	t.Helper()
	until(t, "subscribed", func() (ok bool) { b.get(func(h *hook) { ok = len(h.filters) >= n }); return ok })
}

func (b *broker) complete() (n int) { b.get(func(h *hook) { n = h.acked }); return n }

func TestQoS1IsAcknowledgedOnlyWhenJudged(t *testing.T) {
	b := newBroker(t)
	s := source(t, b.options(1, value("a"), Topic{Topic: "b", Pointer: "/x", Channel: "m.y"}))
	q, _ := running(t, s, 4, 16)
	b.subscribed(t, 2)
	pub := newSender(t, "tcp://"+b.addr, nil)
	pub.say("a", 1, "1")
	batch := take(t, q)
	pub.say("b", 1, "nonsense") // refused, but it may not overtake the one before
	time.Sleep(20 * gather)
	if n := b.complete(); n != 0 {
		t.Fatalf("%d messages acknowledged before the first was judged", n)
	}
	batch.Release()
	until(t, "acknowledged", func() bool { return b.complete() == 2 })
}

// The broker dies with all it knew: sessions and subscriptions.
func TestSubscribesAgainAtABrokerThatForgot(t *testing.T) {
	for _, qos := range []int{0, 1} {
		b := newBroker(t)
		r := sensortest.Start(t, source(t, b.options(qos, value("a"))))
		b.subscribed(t, 1)
		kill(b.server)
		until(t, "told of the loss", func() bool { return r.Err() != nil })
		b.get(func(h *hook) { h.filters = nil })
		b.server = embedded(t, b.addr, b.hook)
		b.subscribed(t, 1)
		newSender(t, "tcp://"+b.addr, nil).say("a", 1, "7")
		r.Wait(t, 1, patience)
		r.Stop(t)
	}
}

func TestQoS0DropsTheOldest(t *testing.T) {
	b := newBroker(t)
	s := source(t, b.options(0, Topic{Topic: "a", Format: "json", Channel: "m.x"}))
	q, w := running(t, s, 2, 4)
	b.subscribed(t, 1)
	pub := newSender(t, "tcp://"+b.addr, nil)
	for i := range 10 { // of four samples each: a batch
		pub.say("a", 0, fmt.Sprintf("[%d,%d,%d,%d]", 4*i, 4*i+1, 4*i+2, 4*i+3))
	}
	until(t, "all read", func() bool { return w.Counters.Read.Load() == 40 })
	if n := w.Counters.Refused(sensors.QueueFull); n != 32 {
		t.Errorf("%d refused because the queue was full, want 32", n)
	}
	for _, want := range []float64{32, 36} {
		batch := take(t, q)
		if batch.Samples[0].Value != want {
			t.Errorf("kept from %v, want the newest, from %v", batch.Samples[0].Value, want)
		}
		batch.Release()
	}
}

func TestStopAcknowledgesWhatIsJudged(t *testing.T) {
	b := newBroker(t)
	s := source(t, b.options(1, value("a")))
	q := sensors.NewQueue(4, 16, 10)
	w, _ := q.Writer("mqtt", s.Channels())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, w) }()
	b.subscribed(t, 1)
	newSender(t, "tcp://"+b.addr, nil).say("a", 1, "1")
	batch := take(t, q)
	cancel()
	time.Sleep(50 * time.Millisecond)
	batch.Release() // while Run waits for it
	if err := <-done; err != nil {
		t.Errorf("Run: %v, want nil after its context ended", err)
	}
	until(t, "acknowledged", func() bool { return b.complete() == 1 })
}

func TestBrokerKeepsMessagesWhileTheAgentIsAway(t *testing.T) {
	b := newBroker(t)
	o := b.options(1, value("a"))
	r := sensortest.Start(t, source(t, o))
	b.subscribed(t, 1)
	r.Stop(t)
	newSender(t, "tcp://"+b.addr, nil).say("a", 1, "1")
	sensortest.Start(t, source(t, o)).Wait(t, 1, patience)
}

func TestInletSaysWhenAllWasPassedOn(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	go func() {
		for _, s := range []string{"abc", "d"} {
			_, _ = far.Write([]byte(s))
		}
	}()
	var said []string
	in := &inlet{Conn: near, dry: func() { said = append(said, "dry") }}
	for range 3 {
		b := make([]byte, 2)
		n, err := in.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		said = append(said, string(b[:n]))
	}
	if want := []string{"dry", "ab", "c", "dry", "d"}; !slices.Equal(said, want) {
		t.Errorf("%v, want %v", said, want)
	}
}

func TestSubscriptionsNeverOverlap(t *testing.T) {
	for _, c := range []struct{ filters, want string }{
		{"a/b c/d", "a/b c/d"},
		{"a/b a/b", "a/b"},
		{"a/+ a/b", "a/+"},
		{"a/# a a/b/c", "a/#"},
		{"plant/+/temp plant/pump1/+", "plant/+/+"},
		{"+/x a/# b/y", "+/#"},
		{"# $SYS/load", "# $SYS/load"},
		{"a/+/c a/b/+ a/b/c/d", "a/+/+ a/b/c/d"},
		{"a/+ b/+ +/c", "+/+"},
	} {
		var filters []filter
		for _, s := range strings.Fields(c.filters) {
			f, err := parseFilter(s)
			if err != nil {
				t.Fatal(err)
			}
			filters = append(filters, f)
		}
		var got []string
		for _, f := range subscriptions(filters) {
			got = append(got, f.String())
		}
		slices.Sort(got)
		if !slices.Equal(got, strings.Fields(c.want)) {
			t.Errorf("%s: subscribed to %v, want %s", c.filters, got, c.want)
		}
	}
}

func TestOneMessageManyRowsIsReadOnce(t *testing.T) {
	b := newBroker(t)
	r := sensortest.Start(t, source(t, b.options(1,
		Topic{Topic: "plant/+/temp", Format: "json", Channel: "{1}.a"},
		Topic{Topic: "plant/pump1/+", Format: "json", Channel: "pump1.b"},
		Topic{Topic: "plant/pump1/temp", Channel: "pump1.c"})))
	b.subscribed(t, 1)
	pub := newSender(t, "tcp://"+b.addr, nil)
	pub.say("plant/pump1/temp", 1, "1")
	pub.say("plant/pump2/other", 1, "1") // within the subscription, for no row
	pub.say("plant/pump1/temp", 1, "2")
	r.Wait(t, 6, patience)
	r.Stop(t)
	r.Drain(t)
	r.Ledger(t)
	for _, channel := range []string{"pump1.a", "pump1.b", "pump1.c"} {
		if got := r.Values(channel); !slices.Equal(got, []float64{1, 2}) {
			t.Errorf("%s: %v, want [1 2]", channel, got)
		}
	}
}

// log is a log that the test reads.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *log) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func TestBoundsAndTheLog(t *testing.T) {
	b := newBroker(t)
	var out log
	o := b.options(1, Topic{Topic: "#", Format: "json", Pointer: "/rms", Channel: "m.x"})
	o.MaxPayload, o.Log = 100, slog.New(slog.NewTextHandler(&out, nil))
	r := sensortest.Start(t, source(t, o))
	b.subscribed(t, 1)
	pub := newSender(t, "tcp://"+b.addr, nil)
	for range 3 {
		pub.say("big", 1, `{"rms":1,"x":"`+strings.Repeat("x", 200_000)+`"}`)
	}
	pub.say(strings.Repeat("t", 257), 1, `{"rms":1}`)
	pub.say(strings.Repeat("/", 16), 1, `{"rms":1}`)
	pub.say("a\u0301", 1, "\x1b[31m{rms")
	pub.say("good", 1, `{"rms":8}`)
	r.Wait(t, 1, patience)
	r.Stop(t)
	r.Drain(t)
	r.Ledger(t)
	if got := r.Samples(); len(got) != 1 || got[0].Value != 8 {
		t.Errorf("read %v, want 8 alone", got)
	}
	c := &r.Writer.Counters
	if c.Refused(sensors.TooLarge) != 5 || c.Refused(sensors.Malformed) != 1 {
		t.Errorf("%d too large, %d malformed; want 5 and 1", c.Refused(sensors.TooLarge), c.Refused(sensors.Malformed))
	}
	until(t, "acknowledged", func() bool { return b.complete() == 7 })
	text := out.String()
	if n := strings.Count(text, "reason=too_large"); n != 1 {
		t.Errorf("too_large was logged %d times, want once a minute:\n%s", n, text)
	}
	for _, want := range []string{"expected=", "/rms", "cure=", `\x1b[31m`, "max_payload"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log does not say %s:\n%s", want, text)
		}
	}
}

func TestRetainedIsUncertain(t *testing.T) {
	b := newBroker(t)
	pub := newSender(t, "tcp://"+b.addr, nil)
	if tok := pub.Publish("a", 1, true, "5"); !tok.WaitTimeout(patience) {
		t.Fatal("not published")
	}
	r := sensortest.Start(t, source(t, b.options(1, value("a"))))
	r.Wait(t, 1, patience)
	pub.say("a", 1, "6")
	got := r.Wait(t, 2, patience)
	if got[0].Quality != sensors.UncertainLastUsableValue || got[1].Quality != sensors.Good {
		t.Errorf("qualities %v and %v: the retained value is of unknown age", got[0].Quality, got[1].Quality)
	}
}

func TestRefusedSubscription(t *testing.T) {
	b := newBroker(t)
	b.get(func(h *hook) { h.refuse = "secret/#" })
	err := source(t, b.options(1, value("secret/#"))).Run(context.Background(), newWriter(t))
	if err == nil || !strings.Contains(err.Error(), "ACL") || !strings.Contains(err.Error(), "secret/#") {
		t.Errorf("Run: %v, want the topic and its cure", err)
	}
	r := sensortest.Start(t, source(t, b.options(1, value("secret/#"), Topic{Topic: "a", Channel: "m.a"})))
	b.subscribed(t, 3)
	newSender(t, "tcp://"+b.addr, nil).say("a", 1, "1")
	r.Wait(t, 1, patience) // the rows that are allowed are read
}

func newWriter(t *testing.T) *sensors.Writer {
	t.Helper()
	w, err := sensors.NewQueue(2, 8, 10).Writer("mqtt", []sensors.Channel{{Name: "m.x"}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestErrorsSayTheCure(t *testing.T) {
	b := newBroker(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	closed := silent.Addr().String()
	_ = silent.Close()
	for _, c := range []struct {
		name   string
		change func(*Options)
		want   string
	}{
		{"wrong password", func(o *Options) {
			o.Username, o.Password = "edge", func() (string, error) { return "wrong", nil }
		}, "check username and password_file"},
		{"no password file", func(o *Options) {
			o.Password = func() (string, error) { b, err := os.ReadFile("/nowhere/password"); return string(b), err }
		}, "check that the file is there"},
		{"unknown host", func(o *Options) { o.Broker = "tcp://no-such-host.invalid:1883" }, "gateway's name server"},
		{"multicast name", func(o *Options) { o.Broker = "tcp://broker.local:1883" }, ".local (mDNS)"},
		{"nobody there", func(o *Options) { o.Broker = "tcp://" + closed }, "nothing listens there"},
		{"TLS to a plain port", func(o *Options) { o.Broker = "tls://" + b.addr }, "may not be for TLS"},
	} {
		o := b.options(1, value("a"))
		c.change(&o)
		err := source(t, o).Run(context.Background(), newWriter(t))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if err != nil && strings.Count(err.Error(), "no such host") > 1 {
			t.Errorf("%s is said twice: %v", c.name, err)
		}
	}
}

// Who has no certificate is told to set one, who has one to check it.
func TestCureOfRefusedCertificate(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	for _, err := range []error{alert, io.EOF} {
		o := Options{Broker: "tls://host", ClientID: "c", Topics: []Topic{value("a")}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}
		if got := source(t, o).cure(err); !strings.Contains(got, "set cert and key") {
			t.Errorf("%v, no certificate: %q", err, got)
		}
		o.TLS.Certificates = make([]tls.Certificate, 1)
		if got := source(t, o).cure(err); !strings.Contains(got, "check cert and key") || !strings.Contains(got, "expired") {
			t.Errorf("%v, a certificate: %q", err, got)
		}
	}
}

func TestErrorsOfMosquittoSayTheCure(t *testing.T) {
	for _, c := range []struct {
		name, env string
		change    func(*testing.T, *Options)
		want      string
	}{
		{"wrong password", "TOCSIN_TEST_MQTT_TLS", func(t *testing.T, o *Options) {
			o.TLS, o.Username = certificates(t, false), "edge"
			o.Password = func() (string, error) { return "wrong", nil }
		}, "check username and password_file"},
		{"unknown authority", "TOCSIN_TEST_MQTT_TLS", func(*testing.T, *Options) {}, "set ca"},
		{"no certificate", "TOCSIN_TEST_MQTT_MTLS", func(t *testing.T, o *Options) { o.TLS = certificates(t, false) }, "set cert and key"},
		{"another name", "TOCSIN_TEST_MQTT_MTLS", func(t *testing.T, o *Options) {
			o.TLS = certificates(t, true)
			o.TLS.ServerName = "elsewhere"
		}, "server_name"},
		{"TLS to a plain port", "TOCSIN_TEST_MQTT", func(*testing.T, *Options) {}, "may not be for TLS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, u := realBroker(t, c.env)
			o := Options{Broker: "tls://" + u.Host, ClientID: "cure", QoS: 1, Topics: []Topic{value("a")}}
			c.change(t, &o)
			err := source(t, o).Run(context.Background(), newWriter(t))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestImpossibleOptions(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"+ and # stand for whole levels": func(o *Options) { o.Topics[0].Topic = "a/b+" },
		"# can only be the last level":   func(o *Options) { o.Topics[0].Topic = "#/a" },
		"shared subscriptions":           func(o *Options) { o.Topics[0].Topic = "$share/g/a" },
		"only 2 wildcards":               func(o *Options) { o.Topics[0].Topic, o.Topics[0].Channel = "+/x/+", "{1}.{3}" },
		"a { without its }":              func(o *Options) { o.Topics[0].Channel = "m.{1" },
		"name and {name} are for lines":  func(o *Options) { o.Topics[0].Channel = "m.{name}" },
		"must begin with /":              func(o *Options) { o.Topics[0].Pointer = "x" },
		"~ is written ~0":                func(o *Options) { o.Topics[0].Pointer = "/a~b" },
		"are for json":                   func(o *Options) { o.Topics[0].Time = "/t" },
		"say which line":                 func(o *Options) { o.Topics[0].Format = "lines" },
		"write json, number or lines":    func(o *Options) { o.Topics[0].Format = "xml" },
		"time_format":                    func(o *Options) { o.Topics[0].TimeFormat = "seconds" },
		"none of tcp, tls, ws and wss":   func(o *Options) { o.Broker = "http://host" },
		"ends up in logs":                func(o *Options) { o.Broker = "tcp://me:secret@host" },
		"client_id is empty":             func(o *Options) { o.ClientID = "" },
		"write 0, 1 or 2":                func(o *Options) { o.QoS = 3 },
		"no topics":                      func(o *Options) { o.Topics = nil },
	} {
		o := Options{Broker: "tcp://host", ClientID: "c", Topics: []Topic{value("a")}}
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
}

func TestPasswordIsAskedAtEachConnect(t *testing.T) {
	b := newBroker(t)
	o := b.options(0, value("a"))
	asked := 0
	o.Password = func() (string, error) { asked++; return "", errors.New("locked away") }
	s, w := source(t, o), newWriter(t)
	for range 2 {
		if err := s.Run(context.Background(), w); err == nil || !strings.Contains(err.Error(), "locked away") {
			t.Errorf("Run: %v", err)
		}
	}
	if asked != 2 {
		t.Errorf("asked %d times, want 2", asked)
	}
}
