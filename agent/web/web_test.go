package web

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tocsin/agent/health"
)

func sick() health.Status {
	at, age := time.Now().Add(-time.Minute), 0.25
	return health.Status{
		Device: "gw-1", Version: `1.0 "quoted"\`, State: health.Running, Started: at, SentAt: time.Now(), Health: health.Failed,
		Reasons: []health.Reason{{What: "disk_trouble", Level: health.Failed, Problem: "the disk takes no events"},
			{What: "source_down", Source: "mqtt.hall", Level: health.Degraded, Problem: "cannot be read"}},
		Config: health.Config{Expires: &at, Certificate: "/etc/tocsin/gw.pem"}, Clock: health.Clock{Trust: "synced"},
		Sources: map[string]health.Source{
			"mqtt.hall": {State: "waiting", Down: &at, Read: 12, Judged: 9, Refused: map[string]uint64{"malformed": 2, "too_large": 1}},
			"csv.log":   {State: "running", Read: 3, Judged: 3, Latest: &age, Runs: 1}},
		Trouble: "full",
		Buffer: health.Buffer{Appended: 10, Waiting: 4, BySeverity: map[string]uint64{"high": 4}, Acknowledged: 5, Oldest: &at,
			Dropped: map[string]map[string]uint64{"space": {"low": 1}}, Bytes: 1 << 30, MaxBytes: 2 << 30},
		Kafka: health.Kafka{Connected: true},
		Feeds: map[string]health.Feed{"scores": {Made: 3, Sent: 1, Dropped: map[string]uint64{"buffer_full": 2}}},
		Usage: health.Usage{CPU: 1.5, RSS: 12 << 20, Heap: 1 << 20, Goroutines: 9, Descriptors: 11, Flash: 1e7},
	}
}

func options() Options {
	return Options{Status: sick, Log: slog.New(slog.DiscardHandler),
		Dump:   func(to io.Writer) error { _, err := io.WriteString(to, "{}\n"); return err },
		Reload: func(context.Context) (string, error) { return "nothing has changed\n", nil }}
}

// get asks a handler as a client on this machine does.
func get(h http.Handler, method, path string, header ...string) (code int, body string) {
	r := httptest.NewRequest(method, path, http.NoBody)
	r.Host = "127.0.0.1:9273"
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		return 0, "it lets other sites read"
	}
	return w.Code, w.Body.String()
}

func TestWhoMayAskForWhat(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		socket, port int
	}{
		{"GET", "/metrics", 200, 200},
		{"GET", "/healthz", 503, 503},
		{"GET", "/readyz", 200, 200},
		{"GET", "/status", 200, 404},
		{"GET", "/dump", 200, 404},
		{"POST", "/reload", 200, 404},
		{"GET", "/reload", 405, 404},
		{"POST", "/metrics", 405, 405},
		{"GET", "/", 200, 200},
		{"GET", "/metric", 404, 404},
		{"GET", "/debug/pprof/", 404, 404},
	} {
		if code, _ := get(Handler(options()), tt.method, tt.path); code != tt.socket {
			t.Errorf("%s %s on the socket: %d, want %d", tt.method, tt.path, code, tt.socket)
		}
		if code, _ := get(Public(options()), tt.method, tt.path); code != tt.port {
			t.Errorf("%s %s on the port: %d, want %d", tt.method, tt.path, code, tt.port)
		}
	}
}

// A browser on the gateway must not be led to the port by a page from elsewhere.
func TestForeignRequestsAreRefused(t *testing.T) {
	for _, tt := range []struct {
		header []string
		want   int
	}{
		{[]string{"Host", "127.0.0.1:9273"}, 200},
		{[]string{"Host", "127.0.0.1"}, 200},
		{[]string{"Host", "localhost:9273"}, 200},
		{[]string{"Host", "LocalHost"}, 200},
		{[]string{"Host", "[::1]:9273"}, 200},
		{[]string{"Host", "[::1]"}, 200},
		{[]string{"Host", "127.9.9.9"}, 200},
		{[]string{"Host", "evil.com"}, 403},
		{[]string{"Host", "evil.com:9273"}, 403},
		{[]string{"Host", "127.0.0.1.evil.com"}, 403},
		{[]string{"Host", "localhost.evil.com"}, 403},
		{[]string{"Host", "127.1"}, 403},
		{[]string{"Host", "10.0.0.1"}, 403},
		{[]string{"Host", "[::]"}, 403},
		{[]string{"Host", ""}, 403},
		{[]string{"Origin", "http://127.0.0.1:9273"}, 200},
		{[]string{"Origin", "https://evil.com"}, 403},
		{[]string{"Origin", "null"}, 403},
		{[]string{"Sec-Fetch-Site", "same-origin"}, 200},
		{[]string{"Sec-Fetch-Site", "none"}, 200},
		{[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		{[]string{"Sec-Fetch-Site", "same-site"}, 403},
	} {
		for _, path := range []string{"/metrics", "/readyz"} {
			if code, body := get(Public(options()), "GET", path, tt.header...); code != tt.want || code == 403 && strings.Contains(body, "tocsin_") {
				t.Errorf("%v: %d %q, want %d", tt.header, code, body, tt.want)
			}
		}
	}
}

func TestHealthAndReadiness(t *testing.T) {
	o, s := options(), sick()
	o.Status = func() health.Status { return s }
	if code, body := get(Public(o), "GET", "/healthz"); code != 503 || !strings.HasPrefix(body, "failed\nfailed: the disk") || !strings.Contains(body, "\ndegraded: mqtt.hall cannot be read") {
		t.Errorf("failed: %d %q", code, body)
	}
	s.Health, s.Reasons = health.Degraded, s.Reasons[1:]
	if code, body := get(Public(o), "GET", "/healthz"); code != 200 || !strings.HasPrefix(body, "degraded\n") {
		t.Errorf("degraded: %d %q", code, body)
	}
	for state, want := range map[string]int{health.Starting: 503, health.Running: 200, health.Stopping: 503, health.Stopped: 503} {
		s.State = state
		if code, _ := get(Public(o), "GET", "/readyz"); code != want {
			t.Errorf("ready while %s: %d", state, code)
		}
	}
}

func TestStatusDumpReload(t *testing.T) {
	o := options()
	_, body := get(Handler(o), "GET", "/status")
	var s health.Status
	if err := json.Unmarshal([]byte(body), &s); err != nil || s.Device != "gw-1" || s.Health != health.Failed {
		t.Errorf("%v: %s", err, body)
	}
	if code, body := get(Handler(o), "POST", "/reload"); code != 200 || body != "nothing has changed\n" {
		t.Errorf("%d %q", code, body)
	}
	o.Reload = func(context.Context) (string, error) { return "", errors.New("line 3: no such key") }
	if code, body := get(Handler(o), "POST", "/reload"); code != 422 || body != "line 3: no such key\n" {
		t.Errorf("%d %q", code, body)
	}
	o.Reload = nil
	if code, _ := get(Handler(o), "POST", "/reload"); code != 404 {
		t.Errorf("where nothing can be reloaded: %d", code)
	}
	// A dump that breaks off must not look like a whole one.
	o.Dump = func(to io.Writer) error { _, _ = io.WriteString(to, "{}\n"); return errors.New("damaged") }
	server := httptest.NewServer(Handler(o))
	defer server.Close()
	r, err := http.Get(server.URL + "/dump")
	if err == nil {
		_, err = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	if err == nil {
		t.Error("half a dump looks whole")
	}
}

func TestListenOnLoopbackOnly(t *testing.T) {
	for _, good := range []string{"127.0.0.1:0", "localhost:0"} {
		l, err := Listen(good)
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		_ = l.Close()
	}
	for _, bad := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "gateway:0", "127.0.0.1", "127.0.0.1.evil.com:0"} {
		l, err := Listen(bad)
		if err == nil {
			_ = l.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "[agent] listen") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// What a client sends slowly or at length is cut off.
func TestServerIsBounded(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := Server(Public(options()), slog.New(slog.DiscardHandler))
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/metrics", l.Addr()), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 100_000))
	if got, err := http.DefaultClient.Do(r); err == nil {
		if _ = got.Body.Close(); got.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("100 kB of headers: %s", got.Status)
		}
	}
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.IdleTimeout == 0 {
		t.Error("a client may take as long as it likes")
	}
}

// TestExposition reads the metrics as Prometheus does, and as strictly as
// promtool check metrics: every sample after HELP and TYPE of its family, each
// family once, no series twice, names and units as the conventions say.
func TestExposition(t *testing.T) {
	s := sick()
	families, err := parse(metrics(&s))
	if err != nil {
		t.Fatal(err)
	}
	value := func(name string, labels ...string) float64 {
		t.Helper()
		slices.Sort(labels)
		v, ok := families[name].series[strings.Join(labels, ",")]
		if !ok {
			t.Errorf("no %s with %v; there are %v", name, labels, families[name].series)
		}
		return v
	}
	for name, got := range map[string]float64{
		"read":      value("tocsin_readings_total", `source="mqtt.hall"`) - 12,
		"refused":   value("tocsin_readings_refused_total", `source="mqtt.hall"`, `reason="malformed"`) - 2,
		"down":      value("tocsin_source_up", `source="mqtt.hall"`),
		"up":        value("tocsin_source_up", `source="csv.log"`) - 1,
		"dropped":   value("tocsin_events_dropped_total", `reason="space"`, `severity="low"`) - 1,
		"bytes":     value("tocsin_buffer_bytes") - 1<<30,
		"kafka":     value("tocsin_kafka_up") - 1,
		"disk":      value("tocsin_disk_up"),
		"feed":      value("tocsin_feed_rows_dropped_total", `stream="scores"`, `reason="buffer_full"`) - 2,
		"health":    value("tocsin_health") - 2,
		"cpu":       value("process_cpu_seconds_total") - 1.5,
		"problem":   value("tocsin_problem", `what="disk_trouble"`, `level="failed"`) - 1,
		"of source": value("tocsin_problem", `what="source_down"`, `source="mqtt.hall"`, `level="degraded"`) - 1,
		"version":   value("tocsin_build_info", `version="1.0 \"quoted\"\\"`) - 1,
	} {
		if got != 0 {
			t.Errorf("%s is off by %v", name, got)
		}
	}
	if age := value("tocsin_buffer_oldest_seconds"); age < 59 || age > 61 {
		t.Errorf("the oldest is %v s old", age)
	}
	for name, f := range families {
		if err := f.lint(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What is not there yet does not break anything.
	if _, err := parse(metrics(&health.Status{})); err != nil {
		t.Error(err)
	}
}

type family struct {
	help, kind string
	series     map[string]float64 // by sorted labels
}

var (
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*")(?:,|$)`)
)

// parse reads the text exposition format 0.0.4.
func parse(text []byte) (map[string]*family, error) {
	families := map[string]*family{}
	now := ""
	if !bytes.HasSuffix(text, []byte("\n")) {
		return nil, errors.New("the last line has no end")
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, help, _ := strings.Cut(rest, " ")
			if families[name] != nil {
				return nil, fmt.Errorf("%s comes twice", name)
			}
			now, families[name] = name, &family{help: help, series: map[string]float64{}}
			continue
		}
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if name != now || families[now].kind != "" || len(families[now].series) > 0 {
				return nil, fmt.Errorf("%q does not follow its HELP", line)
			}
			families[now].kind = kind
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil || m[1] != now || families[now].kind == "" {
			return nil, fmt.Errorf("%q is no sample of %q", line, now)
		}
		var labels []string
		for rest := m[2]; rest != ""; {
			pair := labelPair.FindStringSubmatch(rest)
			if pair == nil {
				return nil, fmt.Errorf("labels of %q", line)
			}
			labels, rest = append(labels, pair[1]), rest[len(pair[0]):]
		}
		slices.Sort(labels)
		key := strings.Join(labels, ",")
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
		if _, twice := families[now].series[key]; twice {
			return nil, fmt.Errorf("%q comes twice", line)
		}
		families[now].series[key] = value
	}
	return families, nil
}

// lint holds a family to promtool's rules (client_golang, prometheus/testutil
// promlint) and the naming practices.
func (f *family) lint(name string) error {
	total := strings.HasSuffix(name, "_total")
	switch {
	case f.help == "" || f.kind != "counter" && f.kind != "gauge":
		return fmt.Errorf("help %q, type %q", f.help, f.kind)
	case total != (f.kind == "counter"):
		return fmt.Errorf("a %s", f.kind)
	case strings.Contains(name, f.kind), strings.HasSuffix(name, "_count"), strings.HasSuffix(name, "_sum"), strings.HasSuffix(name, "_bucket"), strings.ToLower(name) != name:
		return errors.New("the name is reserved, or tells its type")
	}
	for _, unit := range []string{"_ms", "_milliseconds", "_minutes", "_hours", "_days", "_kib", "_mib", "_kilobytes", "_megabytes", "_percent", "_celsius_"} {
		if strings.Contains(name+"_", unit+"_") {
			return fmt.Errorf("%s is no base unit", unit)
		}
	}
	for key := range f.series {
		if strings.Contains(","+key, ",le=") || strings.Contains(","+key, ",quantile=") {
			return fmt.Errorf("label of a histogram: %s", key)
		}
	}
	return nil
}
