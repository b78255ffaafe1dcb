package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/sensors"
)

// A source that is down for an hour is told at first, where the error changes,
// every ten minutes, and once when it is back.
func TestOutageIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		s, _ := build(t, func(ctx context.Context, run int, _ *sensors.Writer) error {
			switch down := time.Since(began); {
			case down < 5*time.Minute:
				return fmt.Errorf("read tcp 10.0.0.2:%d->10.0.0.9:1883: connection reset", 40000+run)
			case down < time.Hour:
				time.Sleep(10 * time.Second) // as a connection that times out
				return errors.New("no answer")
			}
			<-ctx.Done()
			return nil
		})
		var text bytes.Buffer
		s.Log = slog.New(slog.NewTextHandler(&text, nil))
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		s.Run(ctx)
		var warned, back []string
		for _, line := range strings.Split(text.String(), "\n") {
			if strings.Contains(line, "level=WARN") {
				warned = append(warned, line)
			}
			if strings.Contains(line, "source is back") {
				back = append(back, line)
			}
		}
		if len(warned) < 6 || len(warned) > 8 || !strings.Contains(warned[0], "connection reset") ||
			!strings.Contains(warned[1], "no answer") || !strings.Contains(warned[2], `down_for=1`) {
			t.Errorf("%d warnings in an hour:\n%s", len(warned), strings.Join(warned, "\n"))
		}
		if len(back) != 1 || !strings.Contains(back[0], `down_for=1h`) {
			t.Errorf("it is said to be back: %q", back)
		}
	})
}
