package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"tocsin/agent/config"
	"tocsin/agent/pipeline"
	"tocsin/sensors"
	"tocsin/uplink/spool"
)

// gateway is an agent at work on a file that a test changes.
type gateway struct {
	t       *testing.T
	dir     string
	a       *agent
	hangups chan os.Signal
	log     *text
	over    chan struct{}
}

// text is a log that is read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(b []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(b) }
func (l *text) String() string              { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

// newGateway starts an agent; @ in its file is a folder of its own. The file is not
// watched unless it says so.
func newGateway(t *testing.T, file string) *gateway {
	t.Helper()
	dir, err := os.MkdirTemp("", "tocsin") // short: a unix socket's path may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	s := &gateway{t: t, dir: dir, hangups: make(chan os.Signal, 1), log: &text{}, over: make(chan struct{})}
	s.write(file)
	cfg, err := config.Load(s.path("site.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if s.a, err = newAgent(t.Context(), cfg, false, slog.New(slog.NewTextHandler(s.log, nil))); err != nil {
		t.Fatal(err)
	}
	go func() { defer close(s.over); s.a.run(s.hangups) }()
	t.Cleanup(func() {
		s.stop()
		os.RemoveAll(dir)
		if t.Failed() {
			all := s.log.String()
			t.Log(all[max(0, len(all)-5000):])
		}
	})
	s.until("the street runs", func() bool { _, err := s.a.now().street.Change(t.Context(), s.nothing()); return err == nil })
	return s
}

// nothing is a change that changes nothing.
func (s *gateway) nothing() pipeline.Change {
	cfg := s.a.now().config
	return pipeline.Change{Alarms: alarmSettings(cfg), Fixed: fixed(cfg)}
}

func (s *gateway) path(name string) string { return filepath.Join(s.dir, name) }

func (s *gateway) write(file string) {
	s.t.Helper()
	file = "[spool]\ndir = \"@/data\"\ncommit = \"5ms\"\n" + file
	if !strings.Contains(file, "[agent]") {
		file += "\n[agent]\nsocket = \"@/s\"\nwatch = false\n"
	}
	if !strings.Contains(file, "[kafka]") {
		file += "\n[kafka]\nbrokers = [\"127.0.0.1:1\"]\n"
	}
	if err := os.WriteFile(s.path("site.toml"), []byte(strings.ReplaceAll(file, "@", s.dir)), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// reload writes the file and has it applied.
func (s *gateway) reload(file string) string {
	s.t.Helper()
	s.write(file)
	report, err := s.a.reload(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return report
}

func (s *gateway) until(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("never: %s", what)
		}
	}
}

func (s *gateway) source(name string) *pipeline.Source {
	for _, source := range s.a.now().street.All() {
		if source.Name == name {
			return source
		}
	}
	s.t.Fatalf("no source %s", name)
	return nil
}

func (s *gateway) stop() {
	s.a.end()
	<-s.over
}

// quiet is a source that says next to nothing.
const quiet = "[simulate.quiet]\ninterval = \"1h\"\n"

const rows = "time,t\n2026-01-01 00:00:00,70\n2026-01-01 00:01:00,80\n"

// rows writes what replay reads: two readings, of which the second is over the
// limit.
func (s *gateway) rows() {
	if err := os.WriteFile(s.path("log.csv"), []byte(rows), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

const replay = "[csv.log]\npath = \"@/log.csv\"\nspeed = 0\ncolumns = {t = \"pump1.temp Cel\"}\n[limit.\"pump1.temp\"]\nhigh = 75\n"

// A file that is wrong changes nothing, and is told until a right one comes.
func TestReloadRefusesABadFile(t *testing.T) {
	const pumps = "[simulate.pump]\ninterval = \"10ms\"\n"
	s := newGateway(t, pumps)
	before := s.a.now()
	for name, bad := range map[string]string{
		"syntax":      "[simulate.pump\n",
		"unknown key": pumps + "colour = 1\n",
		"two errors":  "[simulate.pump]\ninterval = \"10\"\npumps = 0\n",
	} {
		s.write(bad)
		report, err := s.a.reload(t.Context())
		var errs config.Errors
		if !errors.As(err, &errs) || report != "" {
			t.Errorf("%s: %q, %v", name, report, err)
		}
		if state := s.a.configState(); state.Refused != errs.Error() || state.Hash != before.config.Hash || s.a.now() != before {
			t.Errorf("%s: something has changed, or it is not told: %+v", name, state)
		}
		if name == "two errors" && len(errs) != 2 {
			t.Errorf("%d errors: %v", len(errs), err)
		}
	}
	s.write(strings.Replace(pumps, "[sim", "[spool]\n[sim", 1)) // a table that is given twice
	s.hangups <- syscall.SIGHUP
	s.until("the signal is heeded", func() bool { return strings.Count(s.log.String(), refusedText) > 4 })
	if report := s.reload(pumps); report != unchanged+"\n" || s.a.configState().Refused != "" {
		t.Errorf("the file is as it was: %q, refused %q", report, s.a.configState().Refused)
	}
	if source := s.source("simulate.pump"); source.Status().Runs != 1 {
		t.Errorf("the source ran %d times", source.Status().Runs)
	}
	if report := s.reload("# a comment\n" + pumps); !strings.HasPrefix(report, unchanged) || s.a.configState().Hash == before.config.Hash {
		t.Errorf("a comment: %q", report)
	}
}

// What a reload says, and that only what it names is touched.
func TestReloadTouchesWhatChanged(t *testing.T) {
	const a, b = "[simulate.a]\ninterval = \"10ms\"\n", "[simulate.b]\ninterval = \"10ms\"\n"
	s := newGateway(t, a+b)
	untouched := s.source("simulate.a")
	for _, step := range []struct{ file, want string }{
		{a + strings.Replace(b, "10ms", "20ms", 1), "[simulate.b]: restarted\n"},
		{a, "[simulate.b]: stopped; channels that nothing else reads are not judged any more\n"},
		{a + "[simulate.c]\n", "[simulate.c]: started\n"},
		{a + "[limit.\"a1.pressure\"]\nhigh = 99\n", "[simulate.c]: stopped; channels that nothing else reads are not judged any more\n" +
			"[limit.\"a1.pressure\"]: judged by the new settings; of its detectors 6 keep what they learned, 1 begin anew\n"},
		{a + "[limit.\"a1.pressure\"]\nhigh = 98\n[alarms]\nupdate = \"5m\"\n", "[limit.\"a1.pressure\"]: judged by the new settings; of its detectors 6 keep what they learned, 1 begin anew\n" +
			"[alarms]: hold from the next finding on\n"},
		{a + "[machine.a1]\ndetectors = [\"ewma\"]\n", "[machine.a1]: 6 channels are judged by the new settings; of their detectors 6 keep what they learned, 0 begin anew\n" +
			"[limit.\"a1.pressure\"]: judged by the new settings; of its detectors 1 keep what they learned, 0 begin anew\n" +
			"[alarms]: hold from the next finding on\n"},
		{a + "[detect]\nlearn = 400\n[channel.\"a1.flow\"]\nrange_low = -1\n", "[detect]: 6 channels are judged by the new settings"},
	} {
		if report := s.reload(step.file); !strings.HasPrefix(report, step.want) {
			t.Errorf("got  %s\nwant %s", report, step.want)
		}
	}
	if now := s.source("simulate.a"); now != untouched || now.Status().Runs != 1 {
		t.Error("the source that no step names was touched")
	}
}

// fakeKafka is a cluster in this process with the topic for events.
func fakeKafka(t *testing.T) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "tocsin.events.v1", "tocsin.status.v1"),
		kfake.WithLogger(kfake.BasicLogger(io.Discard, kfake.LogLevelNone)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// eventIDs counts the ce_id of all events in the cluster.
func eventIDs(t *testing.T, c *kfake.Cluster) map[string]int {
	t.Helper()
	ids := map[string]int{}
	for p := range 3 {
		conn, err := kafkago.DialLeader(t.Context(), "tcp", c.ListenAddrs()[0], "tocsin.events.v1", p)
		if err != nil {
			t.Fatal(err)
		}
		_, end, err := conn.ReadOffsets()
		if err = errors.Join(err, conn.Close()); err != nil {
			t.Fatal(err)
		}
		r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: c.ListenAddrs(), Topic: "tocsin.events.v1", Partition: p, MaxWait: 10 * time.Millisecond})
		for at := int64(0); at < end; {
			ctx, enough := context.WithTimeout(t.Context(), 10*time.Second)
			m, err := r.ReadMessage(ctx)
			enough()
			if err != nil {
				t.Fatal(err)
			}
			at = m.Offset + 1
			for _, h := range m.Headers {
				if h.Key == "ce_id" {
					ids[string(h.Value)]++
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// [kafka] changes while events are made and sent: each is in the topic once.
func TestKafkaReloadDeliversOnce(t *testing.T) {
	c := fakeKafka(t)
	settings := func(timeout, codec string) string {
		return fmt.Sprintf("[kafka]\nbrokers = [%q]\ntimeout = %q\ncodec = %q\n[alarms]\nrealarm = \"0s\"\nupdate = \"0s\"\n"+
			"[simulate.a]\npumps = 4\ninterval = \"5ms\"\n[limit.\"a1.pressure\"]\nhigh = 0\n[limit.\"a2.pressure\"]\nhigh = 0\n", c.ListenAddrs()[0], timeout, codec)
	}
	s := newGateway(t, settings("10s", "zstd"))
	for i := range 8 {
		time.Sleep(50 * time.Millisecond)
		report := s.reload(settings(fmt.Sprintf("%ds", 11+i), []string{"none", "zstd"}[i%2]))
		if !strings.HasPrefix(report, "[kafka]: ") {
			t.Errorf("%q", report)
		}
	}
	s.until("events are sent", func() bool { return s.a.now().street.Forwarding().Connected })
	s.reload("[kafka]\nbrokers = [\"" + c.ListenAddrs()[0] + "\"]\n" + quiet) // no more events
	stats := func() spool.Stats { return s.a.now().spool.Stats() }
	s.until("all is delivered", func() bool { return stats().Waiting() == 0 })
	made, ids := stats().Appended, eventIDs(t, c)
	if uint64(len(ids)) != made || made < 100 {
		t.Errorf("%d events made, %d in the topic", made, len(ids))
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is in the topic %d times", id, n)
		}
	}
	if n := s.a.now().street.Forwarding().Delivered; n != made || stats().Repeated != 0 {
		t.Errorf("delivered %d of %d over all forwarders, %d repeated", n, made, stats().Repeated)
	}
}

// What the whole street stands on is built anew: the alarm stays what it was, the
// ledger goes on, and what was replayed is not replayed again.
func TestRebuildKeepsWhatItCan(t *testing.T) {
	s := newGateway(t, quiet)
	s.rows()
	s.reload(replay)
	ended := func() bool { return s.source("csv.log").Status().State == "ended" }
	s.until("the file is read", func() bool { return ended() && s.a.now().spool.Stats().Appended == 1 })
	before := s.a.now()
	report := s.reload(replay + "[site]\nline = \"line1\"\n[agent]\nsocket = \"@/t\"\nbuffer = 2048\nwatch = false\n")
	if !strings.HasPrefix(report, "[site], [agent] buffer: everything restarted\n[agent] socket: ") {
		t.Errorf("%q", report)
	}
	now := s.a.now()
	if now.street == before.street {
		t.Fatal("the street is the same")
	}
	s.until("the replay is over", ended)
	c := &s.source("csv.log").Writer.Counters
	if c.Read.Load() != 2 || c.Judged.Load() != 2 {
		t.Errorf("read %d, judged %d, want 2", c.Read.Load(), c.Judged.Load())
	}
	if n := now.spool.Stats().Appended; n != 1 {
		t.Errorf("%d events, want the one of before", n)
	}
	s.until("the alarm is known", func() bool { return now.street.Judge.Alarms.Load() == 1 })
	if body, err := ask(s.path("t"), "/status"); err != nil {
		t.Errorf("on the new socket: %v", err)
	} else {
		_ = body.Close()
	}
	s.until("the old socket is closed", func() bool { _, err := ask(s.path("s"), "/status"); return errors.Is(err, errNobody) })
}

// What cannot be built leaves what ran before.
func TestRebuildThatFails(t *testing.T) {
	s := newGateway(t, "[simulate.a]\ninterval = \"10ms\"\n")
	other := s.path("other")
	held, err := spool.Open(filepath.Join(other, "spool"), spool.Options{}) // another agent has it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	read := s.source("simulate.a").Writer.Counters.Read.Load()
	file, err := os.ReadFile(s.path("site.toml"))
	if err != nil {
		t.Fatal(err)
	}
	moved := strings.Replace(string(file), s.path("data"), other, 1)
	if err := os.WriteFile(s.path("site.toml"), []byte(moved), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.a.reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "in use") || !strings.Contains(err.Error(), "the configuration before runs again") {
		t.Fatalf("reload: %v", err)
	}
	s.until("it reads again", func() bool { return s.source("simulate.a").Writer.Counters.Read.Load() > read })
	if state := s.a.configState(); !strings.Contains(state.Refused, "in use") {
		t.Errorf("%+v", state)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if report, err := s.a.reload(t.Context()); err != nil || !strings.Contains(report, "[spool] dir: everything restarted") {
		t.Errorf("once it can be: %q, %v", report, err)
	}
}

// A reload that comes before there is a street waits for it.
func TestReloadBeforeTheStart(t *testing.T) {
	s := newGateway(t, quiet)
	s.stop()
	s.write(quiet + "[alarms]\nupdate = \"5m\"\n")
	a, err := newAgent(t.Context(), s.a.now().config, false, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() { _, err := a.reload(t.Context()); answered <- err }()
	time.Sleep(50 * time.Millisecond)
	over := make(chan struct{})
	go func() { defer close(over); a.run(s.hangups) }()
	select {
	case err := <-answered:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for ever")
	}
	a.end()
	<-over
}

// A stop wins over any reload, whenever it comes.
func TestStopDuringAnyReload(t *testing.T) {
	for i := range 6 {
		s := newGateway(t, "[simulate.a]\ninterval = \"10ms\"\n")
		s.write("[simulate.a]\ninterval = \"20ms\"\n[site]\nline = \"" + "l"[:i%2] + "\"\n[kafka]\nbrokers = [\"127.0.0.1:2\"]\n")
		answered := make(chan error, 1)
		go func() { _, err := s.a.reload(context.Background()); answered <- err }()
		time.Sleep(time.Duration(i) * time.Millisecond)
		began := time.Now()
		s.stop()
		if took := time.Since(began); took > grace {
			t.Errorf("the stop took %v", took)
		}
		<-answered
		if _, err := s.a.reload(context.Background()); !errors.Is(err, context.Canceled) {
			t.Errorf("a reload after the stop: %v", err)
		}
	}
}

// The watch reads a file only when it has stood still, whatever way it is
// replaced.
func TestWatchReadsWhatStandsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		path := filepath.Join(dir, "site.toml")
		write := func(name, text string) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		const right = "[kafka]\nbrokers = [\"127.0.0.1:1\"]\n" + quiet
		write("site.toml", right)
		cfg, err := config.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		a := &agent{log: slog.New(slog.DiscardHandler), reloads: make(chan struct{}, 1)}
		a.life, a.end = context.WithCancel(t.Context())
		a.works.Store(&works{config: cfg, street: &pipeline.Street{Queue: sensors.NewQueue(1, 1, 1)}})
		var watch sync.WaitGroup
		watch.Go(a.watchFiles)
		refused := func() string { synctest.Wait(); return a.configState().Refused }
		time.Sleep(5*look + look/2) // between two looks

		write("site.toml", "[kafka]\nbrok") // an editor that is half-way
		time.Sleep(look)
		if why := refused(); why != "" {
			t.Errorf("a file that is being written was read: %s", why)
		}
		write("site.toml", right)
		time.Sleep(5 * look)
		if why := refused(); why != "" {
			t.Errorf("the file is whole: %s", why)
		}
		replace := map[string]func(name string) error{
			"renamed over": func(name string) error { return os.Rename(filepath.Join(dir, name), path) },
			"linked to": func(name string) error {
				return errors.Join(os.Remove(path), os.Symlink(filepath.Join(dir, name), path))
			},
			"beside it": func(name string) error {
				return errors.Join(os.MkdirAll(filepath.Join(dir, "conf.d"), 0o700), os.Rename(filepath.Join(dir, name), filepath.Join(dir, "conf.d", name)))
			},
		}
		for _, how := range []string{"renamed over", "linked to", "beside it"} {
			write("new.toml", "# "+how+"\n[kafka]\nbroken")
			if err := replace[how]("new.toml"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * look)
			if refused() == "" {
				t.Errorf("a file that was %s is not noticed", how)
			}
			_ = os.Remove(path)
			write("site.toml", right)
			_ = os.RemoveAll(filepath.Join(dir, "conf.d"))
			time.Sleep(3 * look)
			if why := refused(); why != "" {
				t.Errorf("after %q: %s", how, why)
			}
		}
		a.end()
		watch.Wait()
	})
}
