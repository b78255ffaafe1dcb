package cli

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"tocsin/agent/config"
)

// doorman is a broker's access list: the user "guest" is not let in, and topics
// below secret/ are for nobody.
type doorman struct{ mochi.HookBase }

func (*doorman) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*doorman) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	return string(pk.Connect.Username) != "guest"
}

func (*doorman) OnACLCheck(_ *mochi.Client, topic string, write bool) bool {
	return write || !strings.HasPrefix(topic, "secret/")
}

// startBroker starts an in-process MQTT broker and sets $MQTT. A line of the file
// named, "topic payload", is published ten times a second until the script ends;
// NOW and NOW_MS in it become the time.
func startBroker(ts *testscript.TestScript, _ bool, args []string) {
	server := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	ts.Check(server.AddHook(new(doorman), nil))
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	ts.Check(server.AddListener(l))
	ts.Check(server.Serve())
	ts.Setenv("MQTT", l.Address())
	lines := strings.Split(strings.TrimSpace(ts.ReadFile(args[0])), "\n")
	stop, stopped := make(chan struct{}), make(chan struct{})
	ts.Defer(func() { close(stop); <-stopped; _ = server.Close() })
	go func() {
		defer close(stopped)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			for _, line := range lines {
				topic, payload, _ := strings.Cut(line, " ")
				now := time.Now()
				payload = strings.NewReplacer("NOW_MS", strconv.FormatInt(now.UnixMilli(), 10), "NOW", now.UTC().Format(time.RFC3339Nano)).Replace(payload)
				_ = server.Publish(topic, []byte(payload), false, 0) // nobody may listen yet
			}
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
}

// What a payload does not give is told with what it does give.
func TestExamine(t *testing.T) {
	for _, test := range []struct {
		row                 config.Topic
		payload, said, cure string
	}{
		{config.Topic{Format: "json", Pointer: "/rms"}, `{"rms":1.5}`, "", ""},
		{config.Topic{Format: "json", Pointer: "/rms"}, `{"rms":"1.5"}`, "", ""}, // as the agent takes it
		{config.Topic{Format: "json", Pointer: "/rms"}, `{"RMS":1.5}`, `pointer = "/rms" leads to no number in {"RMS":1.5}`, `did you mean pointer = "/RMS"?`},
		{config.Topic{Format: "json", Pointer: "/temp"}, `{"data":{"temp":20,"unit":"C"}}`, "leads to no number", `did you mean pointer = "/data/temp"?`},
		{config.Topic{Format: "json", Pointer: "/x"}, `{"flow":1,"p":[1,2],"name":"a"}`, "leads to no number", "there is /flow, /p"},
		{config.Topic{Format: "json", Pointer: "/rms"}, `{"rms":null}`, "is null", "look at the device"},
		{config.Topic{Format: "json", Pointer: "/rms"}, `{"rms":"high"}`, `is the text high, not a number`, ""},
		{config.Topic{Format: "json", Pointer: "/rms"}, `rms=1`, "rms=1 is no JSON", "set format"},
		{config.Topic{Format: "json", Pointer: "/rms"}, `{"rms":1} x`, "is no JSON", "set format"},
		{config.Topic{Format: "json", Pointer: "/v", Each: "/list"}, `{"list":[{"v":1}]}`, "", ""},
		{config.Topic{Format: "json", Pointer: "/v", Each: "/lst"}, `{"list":[{"v":1}]}`, "leads to no array", `did you mean each = "/list"?`},
		{config.Topic{Format: "json", Pointer: "/v", Time: "/t", TimeFormat: "rfc3339"}, `{"v":1,"t":1790000000123}`, "is not written as", `write time_format = "unix_ms"`},
		{config.Topic{Format: "json", Pointer: "/v", Time: "/t", TimeFormat: "unix_ms"}, `{"v":1,"t":1790000000}`, "is not written as", `write time_format = "unix"`},
		{config.Topic{Format: "json", Pointer: "/v", Time: "/t", TimeFormat: "unix"}, `{"v":1,"t":"2026-11-23T12:00:00Z"}`, "is not written as", `write time_format = "rfc3339"`},
		{config.Topic{Format: "json", Pointer: "/v", Time: "/t", TimeFormat: "rfc3339"}, `{"v":1,"t":"23.11.2026 12:00:00"}`, "is not written as", `write time_format = "02.01.2006 15:04:05"`},
		{config.Topic{Format: "json", Pointer: "/v", Time: "/t", TimeFormat: "rfc3339"}, `{"v":1,"ts":"2026-11-23T12:00:00Z"}`, "leads to no time", `did you mean time = "/ts"?`},
		{config.Topic{Format: "number"}, " 1.5\n", "", ""},
		{config.Topic{Format: "number"}, `{"rms":1.5}`, "is JSON, not one number", `add pointer = "/rms"`},
		{config.Topic{Format: "number"}, "61.2 C", "61.2 C is no number", "without its unit"},
		{config.Topic{Format: "number"}, "temp 61.2", "is no number", `format = "lines", name = "temp"`},
		{config.Topic{Format: "number"}, "\x00\xff", `"\x00\xff" is no number`, "set format"},
		{config.Topic{Format: "lines", Name: "flwo"}, "flow 3\nvolt 4\n", `there is no line "flwo"`, `did you mean name = "flow"?`},
		{config.Topic{Format: "lines", Name: "current", TimeFormat: "unix"}, "current 3 1790000000\n", "", ""},
		{config.Topic{Format: "lines", Name: "current"}, "{}", "holds no lines", "set format"},
	} {
		got := examine(test.row, []byte(test.payload), 1000)
		if got.said == "" != (test.said == "") || !strings.Contains(got.said, test.said) || !strings.Contains(got.cure, test.cure) {
			t.Errorf("%+v %s:\n said %q\n cure %q\n want %q, %q", test.row, test.payload, got.said, got.cure, test.said, test.cure)
		}
	}
	if got := examine(config.Topic{Format: "number"}, make([]byte, 1001), 1000); !strings.Contains(got.cure, "max_payload") {
		t.Errorf("a payload that is too large: %+v", got)
	}
}

func TestNearestTopic(t *testing.T) {
	there := map[string][]int{"plant/pump1/vib": nil, "plant/pump2/vib": nil, "plant/pump1/temperature": nil, "$SYS/uptime": nil}
	for filter, want := range map[string]string{
		"plant/pump1/vibr":     "plant/pump1/vib",
		"plnt/pump1/vib":       "plant/pump1/vib",
		"plnt/+/vib":           "plant/+/vib",
		"plant/+/vibr":         "plant/+/vib",
		"plant/+/temp":         "plant/+/temperature",
		"hall/x/temperature":   "plant/pump1/temperature", // the only one that ends so
		"boiler/pressure/main": "",
	} {
		if got := nearestTopic(filter, there); got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
}

// A payload is whatever a device sends: nothing in it may end the check.
func FuzzExamine(f *testing.F) {
	for _, payload := range []string{`{"a":[{"v":1,"t":"x"}]}`, "1.5", "a 1 2\nb", `[[[1]]]`, "\xff", `{"~/":1}`} {
		f.Add(payload, "/a/0/v", "json")
	}
	f.Fuzz(func(t *testing.T, payload, pointer, format string) {
		row := config.Topic{Format: format, Pointer: pointer, Each: "", Time: "/t", TimeFormat: "rfc3339", Name: "a"}
		examine(row, []byte(payload), 1<<16)
		row.Each = "/a"
		examine(row, []byte(payload), 1<<16)
		var value any
		if json.Unmarshal([]byte(payload), &value) == nil {
			for _, p := range numbersIn(value) {
				if !has(value, p) {
					t.Errorf("%q: %s leads nowhere", payload, p)
				}
			}
		}
	})
}

// embeddedKafka starts an in-process cluster and returns a configuration for it.
func embeddedKafka(t *testing.T, options ...kfake.Opt) (*kfake.Cluster, *config.Config) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.WithLogger(kfake.BasicLogger(io.Discard, kfake.LogLevelNone))}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cfg := config.Default()
	cfg.Kafka.Brokers = c.ListenAddrs()
	return c, cfg
}

// Who may read topics and not write to them is told which rights to ask for.
func TestLiveRights(t *testing.T) {
	may := func(o kmsg.ACLOperation) kfake.ACL {
		return kfake.ACL{Resource: kmsg.ACLResourceTypeTopic, Name: "*", Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: o, Allow: true}
	}
	_, cfg := embeddedKafka(t, kfake.EnableSASL(), kfake.EnableACLs(), kfake.SeedTopics(1, "tocsin.events.v1", "tocsin.status.v1"),
		kfake.User("PLAIN", "reader", "secret", may(kmsg.ACLOperationDescribe), may(kmsg.ACLOperationDescribeConfigs)))
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Kafka.SASL = &config.SASL{Mechanism: "PLAIN", Username: "reader", PasswordFile: password}
	answers := (&site{cfg: cfg}).tryKafka(t.Context())
	last := answers[len(answers)-1]
	if last.mark != wrong || last.what != "kafka rights of reader" || !strings.Contains(last.cure, "kafka-acls.sh") || !strings.Contains(last.cure, "--operation Write --topic tocsin.events.v1") {
		t.Errorf("%+v", last)
	}
}

// A broker that the cluster names and the gateway cannot reach is the usual
// mistake of advertised.listeners.
func TestLiveAdvertised(t *testing.T) {
	c, cfg := embeddedKafka(t)
	host, port, _ := strings.Cut(c.ListenAddrs()[0], ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	c.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		answer := r.ResponseKind().(*kmsg.MetadataResponse)
		answer.Brokers = []kmsg.MetadataResponseBroker{{NodeID: 0, Host: host, Port: int32(number)}, {NodeID: 1, Host: "127.0.0.1", Port: 1}}
		return answer, nil, true
	})
	answers := (&site{cfg: cfg}).tryKafka(t.Context())
	if len(answers) < 2 || answers[0].mark != good || answers[1].mark != wrong || !strings.Contains(answers[1].cure, "advertised.listeners") {
		t.Errorf("%+v", answers)
	}
}
