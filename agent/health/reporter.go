package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"tocsin/uplink"
)

const (
	every    = time.Minute     // a record, if nothing changes
	changes  = 5 * time.Second // are looked for: two records are never nearer
	patience = 10 * time.Second
	farewell = 2 * time.Second // that the last record may take
	// nextBy is when the record after one is due at the latest, seen from the
	// centre: a regular one that took all its time, and its neighbour's look.
	nextBy = every + 2*patience + 2*changes
)

// Sink is what a Reporter needs of the way to Kafka.
type Sink interface {
	uplink.Publisher
	// Claim leaves a note under a name and returns the one that was there.
	Claim(ctx context.Context, group, topic, note string) (former string, err error)
}

// Reporter sends the status to a compacted topic, and looks whether another
// agent has this one's name.
type Reporter struct {
	Monitor *Monitor
	Sink    Sink
	Address func() Address // asked for each time, since a reload may change it
	Log     *slog.Logger

	last    Address   // of the last record
	told    string    // signature of the last record
	due     time.Time // when the next is, if nothing changes
	claimed time.Time // when the name was claimed last
	count   uint64    // of records, for their ids
}

// Address is where records go, and whose they are.
type Address struct {
	Topic  string // compacted
	Device string // the records' key
	Source string // ce_source
}

// Group is the consumer group whose notes show who sends as a device.
func Group(device string) string { return "tocsin." + device }

// Run sends until ctx ends, and then the last record. It never holds anything up
// and returns soon after ctx has ended.
func (r *Reporter) Run(ctx context.Context) {
	// A hall of gateways gets its power back at one moment.
	first := time.NewTimer(time.Second + rand.N(9*time.Second))
	defer first.Stop()
	select {
	case <-ctx.Done():
	case <-first.C:
		r.look(ctx)
	}
	tick := time.NewTicker(changes)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			r.look(ctx)
		}
	}
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer stop()
	r.Monitor.Become(Stopped)
	_ = r.send(last, r.Monitor.Status(), nil, r.Address()) // counted there
}

// look sends a record if one is due or something has changed.
func (r *Reporter) look(ctx context.Context) {
	s := r.Monitor.glance()
	now := time.Now()
	to := r.Address()
	if r.last != (Address{}) && r.last != to {
		r.leave(ctx, s)
	}
	due := !now.Before(r.due)
	// While Kafka is away one try a minute is enough; that it is back is a change.
	if !due && (s.signature() == r.told || !s.Kafka.Connected && s.Reports.Since != nil) {
		return
	}
	r.told, r.due = s.signature(), now.Add(every)
	if s.Usage == (Usage{}) {
		s = r.Monitor.Status()
	}
	r.last = to
	next := s.SentAt.Add(nextBy)
	err := r.send(ctx, s, &next, to)
	if err == nil && now.Sub(r.claimed) >= every-changes {
		r.claimed = now
		r.claim(ctx)
	}
}

// leave says under the former address that no record follows there: the device
// has another name now, or the records another topic.
func (r *Reporter) leave(ctx context.Context, s Status) {
	if s.Usage == (Usage{}) {
		s = r.Monitor.Status()
	}
	s.State, s.Device = Stopped, r.last.Device
	_ = r.send(ctx, s, nil, r.last) // counted there
	r.last, r.told, r.due, r.claimed = Address{}, "", time.Time{}, time.Time{}
	r.Monitor.anew()
}

// send sends one record and counts it.
func (r *Reporter) send(ctx context.Context, s Status, next *time.Time, to Address) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.NextBy = next
	body, err := json.Marshal(s)
	if err == nil {
		r.count++
		err = r.Sink.Publish(ctx, to.Topic, []uplink.Message{{
			Key: []byte(to.Device), Value: body, Type: Type, Source: to.Source,
			ID: fmt.Sprintf("%s.%s.%d", to.Device, s.Instance, r.count), Time: s.SentAt.UnixNano(),
		}})
	}
	r.Monitor.told(err)
	return err
}

// told counts a record.
func (m *Monitor) told(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.sent = Sent{Sent: m.sent.Sent + 1, Failed: m.sent.Failed}
		return
	}
	m.sent.Failed++
	if m.sent.Since == nil {
		now := time.Now()
		m.sent.Since = &now
	}
	m.sent.Error, m.sent.Cure = err.Error(), ""
	var out uplink.Outcome
	if errors.As(err, &out) {
		m.sent.Error, m.sent.Cure = fmt.Sprint(out.Err), out.Cure
		if out.Result != uplink.Hold {
			m.sent.Cure = "" // it mends itself
		}
	}
}

// claim leaves this agent's note and reads the one before.
func (r *Reporter) claim(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	m, to := r.Monitor, r.Address()
	m.mu.Lock()
	note := m.guard.next()
	m.mu.Unlock()
	former, err := r.Sink.Claim(ctx, Group(to.Device), to.Topic, note)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.guard.hear(former, err, r.Log)
}
