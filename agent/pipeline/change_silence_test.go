package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/agent/alarms"
	"tocsin/detectors"
	"tocsin/detectors/silence"
	"tocsin/sensors"
)

// A file that was read to its end is not silent, nor is it when it is read anew
// and the first reading takes a moment.
func TestReloadIsNobodysSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch := func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}
		ends := source("s", func(ctx context.Context, out *sensors.Writer) error { put(ctx, out, 1); return nil }, "a.x")
		slow := source("s", func(ctx context.Context, out *sensors.Writer) error {
			for sleep(ctx, 5*time.Second) {
				put(ctx, out, 1)
			}
			return nil
		}, "a.x")
		r := start(t, watch, ends)
		time.Sleep(time.Hour)
		r.change(t, Change{Stop: []string{"s"}, Start: []*Source{slow}})
		time.Sleep(time.Hour)
		r.stop()
		want(t, r.story())
	})
}

// A file that an earlier street has read to its end is not silent in the next
// one, to which it gives nothing.
func TestWhatEndedBeforeIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch := func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}
		over := source("s", waits, "a.x")
		over.Over = true
		r := start(t, watch, over)
		time.Sleep(time.Hour)
		r.stop()
		want(t, r.story())
	})
}

// What two sources feed, of which one has ended and the other is taken out, is
// not silent either.
func TestWhatIsLeftHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch := func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}
		ends := source("ends", func(ctx context.Context, out *sensors.Writer) error { put(ctx, out, 1); return nil }, "a.x")
		goes := source("goes", func(ctx context.Context, out *sensors.Writer) error {
			for sleep(ctx, time.Second) {
				put(ctx, out, 1)
			}
			return nil
		}, "a.x")
		r := start(t, watch, ends, goes)
		time.Sleep(time.Minute)
		r.change(t, Change{Stop: []string{"goes"}})
		time.Sleep(time.Hour)
		r.stop()
		want(t, r.story())
	})
}

// While one source is restarted over and over, a sensor of another that is lost
// is missed all the same.
func TestReloadsHideNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		watch := func(c sensors.Channel) Watch {
			return Watch{Channel: alarms.Channel{Channel: c}, Detectors: []detectors.Detector{silence.New(time.Minute)}}
		}
		lost := source("lost", func(ctx context.Context, out *sensors.Writer) error { put(ctx, out, 1); return waits(ctx, out) }, "a.x")
		busy := func() *Source {
			return source("busy", func(ctx context.Context, out *sensors.Writer) error { put(ctx, out, 1); return waits(ctx, out) }, "b.x")
		}
		r := start(t, watch, lost, busy())
		for range 30 {
			time.Sleep(5 * time.Second)
			r.change(t, Change{Stop: []string{"busy"}, Start: []*Source{busy()}})
		}
		r.stop()
		want(t, r.story(), "a.x raised 1")
	})
}
