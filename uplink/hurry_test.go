package uplink_test

import (
	"testing"
	"testing/synctest"
	"time"

	"tocsin/uplink"
)

// Whoever has mended what held the events need not wait for the back-off.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, what := range []func(*cluster){func(c *cluster) { c.deleted = "events" }, func(c *cluster) { c.fault = func(uplink.Batch) fault { return denied } }} {
			c, d := newCluster(1), newDisk(10)
			what(c)
			d.put(event(1))
			f, stop := running(t, d, c, uplink.ForwarderOptions{})
			time.Sleep(time.Hour)
			c.mu.Lock()
			c.deleted, c.fault = "", nil
			c.mu.Unlock()
			f.Hurry()
			waits(t, d, 100*time.Millisecond)
			stop()
			f.Hurry() // afterwards it does no harm
		}
	})
}
