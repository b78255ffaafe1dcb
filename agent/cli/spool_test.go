package cli

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"

	"tocsin/agent/health"
)

// Draining says how much is left when that or the reason changes, not each second.
func TestDrainTellsWhatChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told, out bytes.Buffer
		c := &call{IO: IO{Out: &out, Err: &told}}
		left := func(n uint64, why string) health.Status {
			return health.Status{Buffer: health.Buffer{Waiting: n}, Kafka: health.Kafka{Error: why}}
		}
		seconds := 0
		err := c.watchDrain(t.Context(), left(5, "refused"), func() (health.Status, error) {
			switch seconds++; {
			case seconds < 60:
				return left(5, "refused"), nil
			case seconds < 120:
				return left(5, "no answer"), nil
			case seconds < 180:
				return left(2, ""), nil
			}
			return health.Status{}, nil
		})
		lines := strings.Split(strings.TrimSpace(told.String()), "\n")
		if err != nil || len(lines) != 3 || !strings.Contains(lines[0], "Ctrl-C") || !strings.Contains(lines[1], "no answer") || !strings.HasPrefix(lines[2], "2 events left") {
			t.Errorf("%v, told %d lines:\n%s", err, len(lines), &told)
		}
	})
}
