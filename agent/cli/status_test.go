package cli

import (
	"testing"
	"time"

	"tocsin/agent/health"
)

// The ledger of a source adds up while readings wait, too.
func TestSourceLine(t *testing.T) {
	now := time.Now()
	src := health.Source{State: "running", Since: now.Add(-time.Minute), Read: 100, Judged: 90, Refused: map[string]uint64{"malformed": 3}}
	for waiting, want := range map[uint64]string{
		0: "mqtt.hall running for 60 s; read 93 = judged 90 + refused 3 (malformed 3)",
		7: "mqtt.hall running for 60 s; read 100 = judged 90 + refused 3 (malformed 3) + waiting 7",
	} {
		src.Read = 93 + waiting
		if got := sourceLine("mqtt.hall", src, now); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
