package cli

import (
	"testing"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
)

// A gateway that starts in 1970 judges certificates by the last time that it
// knows to have been right.
func TestCertificatesOfAGatewayInTheYear1970(t *testing.T) {
	clk := clock.With(clock.Options{Wall: func() time.Time { return time.Unix(0, 0) }, Synced: func() bool { return false }})
	right := clk.Floor().AddDate(0, 5, 0)
	clk.Remember(right)
	c, err := clientTLS(&config.TLS{}, clk)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Time(); !got.Equal(right) {
		t.Errorf("certificates are judged at %v, want %v", got, right)
	}
}
