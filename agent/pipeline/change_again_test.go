package pipeline

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/sensors"
)

// A broker sends again what was not acknowledged before the source was
// restarted: an alarm that was raised and cleared by it is not raised again, on
// a channel that the source finds as on one that it names.
func TestReadingsComeAgainAfterAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := sensors.Steady()
		finds := func() *Source {
			s := source("s", func(ctx context.Context, out *sensors.Writer) error {
				id, err := out.Register(sensors.Channel{Name: "a.x"})
				if err != nil {
					return err
				}
				for i, value := range []float64{150, 150, 10} {
					err = out.Put(ctx, sensors.Sample{Channel: id, Time: began + int64(i)*int64(time.Second), Value: value})
					if err != nil {
						return err
					}
				}
				<-ctx.Done()
				return nil
			})
			s.Finds = true
			return s
		}
		r := start(t, limited, finds())
		time.Sleep(5 * time.Second)
		r.change(t, Change{Stop: []string{"s"}, Start: []*Source{finds()}})
		time.Sleep(5 * time.Second)
		r.stop()
		want(t, r.story(), "a.x raised 1", "a.x cleared 1")
	})
}
