package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"
)

// The scripts in testdata/script run the commands as a person at a shell would:
// each is a process of its own.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tocsin": func() { os.Exit(Main(os.Args[1:], Std())) }})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:   "testdata/script",
		Setup: func(e *testscript.Env) error { e.Setenv("HOME", e.WorkDir); return nil },
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"kafka":   startKafka,
			"broker":  startBroker,
			"consume": consume,
		},
	})
}

// startKafka starts an in-process cluster with the topics named, and sets $KAFKA.
func startKafka(ts *testscript.TestScript, _ bool, topics []string) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, topics...), kfake.WithLogger(kfake.BasicLogger(io.Discard, kfake.LogLevelNone)))
	ts.Check(err)
	ts.Defer(c.Close)
	ts.Setenv("KAFKA", c.ListenAddrs()[0])
}

// consume writes a topic's records, header ce_type and value, to a file:
// consume TOPIC COUNT FILE. It fails if there are fewer, or more.
func consume(ts *testscript.TestScript, _ bool, args []string) {
	var want int
	_, err := fmt.Sscan(args[1], &want)
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	f, err := os.Create(ts.MkAbs(args[2]))
	ts.Check(err)
	out := bufio.NewWriter(f)
	got := 0
	for p := range 3 {
		conn, err := kafkago.DialLeader(ctx, "tcp", ts.Getenv("KAFKA"), args[0], p)
		ts.Check(err)
		_, end, err := conn.ReadOffsets()
		ts.Check(err)
		r := kafkago.NewReader(kafkago.ReaderConfig{Brokers: []string{ts.Getenv("KAFKA")}, Topic: args[0], Partition: p, MaxWait: 10 * time.Millisecond})
		for at := int64(0); at < end; {
			m, err := r.ReadMessage(ctx)
			ts.Check(err)
			for _, h := range m.Headers {
				if h.Key == "ce_type" {
					fmt.Fprintf(out, "%s ", h.Value)
				}
			}
			fmt.Fprintf(out, "%s %s\n", m.Key, m.Value)
			at, got = m.Offset+1, got+1
		}
		ts.Check(r.Close())
		ts.Check(conn.Close())
	}
	ts.Check(out.Flush())
	ts.Check(f.Close())
	if got != want {
		ts.Fatalf("%d records in %s, want %d", got, args[0], want)
	}
}
