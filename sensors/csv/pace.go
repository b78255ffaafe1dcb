package csv

import (
	"context"
	"time"
)

// pace lets a recording pass as fast as it was made, times speed.
type pace struct {
	speed float64 // 0: without waiting
	began time.Time
	base  int64 // time of the row that was due at began
	last  int64
	timer *time.Timer
}

// wait returns when a row of time t is due. A step back in time is due at once,
// and the gaps are counted from there.
func (p *pace) wait(ctx context.Context, t int64) error {
	if p.speed == 0 {
		return ctx.Err()
	}
	now := time.Now()
	if p.began.IsZero() || t < p.last {
		p.began, p.base = now, t
	}
	p.last = t
	// In float64, for a gap of centuries overflows no int64.
	gap := min((float64(t)-float64(p.base))/p.speed, 1e18)
	pause := p.began.Add(time.Duration(gap)).Sub(now)
	if pause < time.Millisecond { // not worth a timer: the next pause makes it up
		return ctx.Err()
	}
	if p.timer == nil {
		p.timer = time.NewTimer(pause)
	} else {
		p.timer.Reset(pause)
	}
	select {
	case <-p.timer.C:
		return nil
	case <-ctx.Done():
		p.timer.Stop()
		return ctx.Err()
	}
}
