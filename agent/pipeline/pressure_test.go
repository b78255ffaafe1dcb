package pipeline

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/sensors"
)

// A source as MQTT is: messages come whether there is room or not. While the
// disk takes no events, QoS 1 stops acknowledging and loses nothing, QoS 0 drops
// its oldest and counts it; neither keeps more than the queue holds.
func TestPushedReadingsWhileTheDiskFails(t *testing.T) {
	const messages, outage = 2000, 10 * time.Minute
	for _, qos := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			var acknowledged []uint64
			most := 0 // acknowledged while the disk failed
			s, d := build(t, func(ctx context.Context, _ int, out *sensors.Writer) error {
				out.OnJudged(func(mark uint64) { acknowledged = append(acknowledged, mark) })
				for i := range messages {
					sample := sensors.Sample{Time: time.Now().UnixNano(), Value: float64(i%2) * 150}
					if qos == 0 {
						for !out.Offer(0, sample) && out.DropOldest() {
						}
					} else {
						for !out.Offer(uint64(i+1), sample) {
							if err := out.Room(ctx); err != nil {
								return err
							}
						}
					}
					time.Sleep(10 * time.Millisecond)
				}
				<-ctx.Done()
				return nil
			})
			d.fail = errors.New("input/output error")
			time.AfterFunc(outage, func() { most = len(acknowledged); d.break_(nil) })
			ctx, cancel := context.WithTimeout(t.Context(), 2*outage)
			defer cancel()
			s.Run(ctx)
			c := &s.Sources[0].Writer.Counters
			balanced(t, s.Sources[0].Writer)
			switch dropped := c.Refused(sensors.QueueFull); {
			case c.Read.Load() < messages && qos == 0 || c.Read.Load() != messages && qos == 1:
				t.Errorf("QoS %d: %d messages read, want %d", qos, c.Read.Load(), messages)
			case qos == 0 && (dropped < messages/2 || dropped+c.Judged.Load() != c.Read.Load()):
				t.Errorf("QoS 0: %d dropped and %d judged of %d", dropped, c.Judged.Load(), c.Read.Load())
			case qos == 1 && (dropped != 0 || most > messages/2 || acknowledged[len(acknowledged)-1] != messages || !slices.IsSorted(acknowledged)):
				t.Errorf("QoS 1: %d dropped, %d acknowledged before the disk was mended, the last is %d", dropped, most, acknowledged[len(acknowledged)-1])
			}
			for i, r := range d.records {
				if r.Seq != uint64(i+1) {
					t.Fatalf("event %d has sequence %d", i, r.Seq)
				}
			}
		})
	}
}
