package alarms

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

// stateVersion changes when the bytes below do; other versions are refused.
const stateVersion = 1

// stateSize: version, severity, status, reason, then seven 64-bit numbers.
const stateSize = 4 + 7*8

func stateKey(channel string, c Class) string { return classNames[c] + "/" + channel }

// appendState writes what must be known of an alarm after a restart, so that it
// is neither raised twice nor left open: little endian, fixed size, then the
// name of the detector that spoke last and, after a zero, the device's. Times
// are wall times: the next process has another steady clock.
func (a *Alarm) appendState(to []byte, now clock.Reading) []byte {
	told := moment{a.told, a.last.Own}
	to = slices.Grow(to, stateSize+len(a.last.Traits.Name)+1+len(a.device))
	to = append(to, stateVersion, byte(a.severity), byte(a.last.Traits.Status), byte(a.last.Verdict.Reason))
	for _, n := range [...]uint64{a.id, uint64(a.since.wall(now)), uint64(told.wall(now)), math.Float64bits(a.last.Value),
		math.Float64bits(a.last.Verdict.Low), math.Float64bits(a.last.Verdict.High), a.epoch} {
		to = binary.LittleEndian.AppendUint64(to, n)
	}
	to = append(append(to, a.last.Traits.Name...), 0)
	return append(to, a.device...)
}

func (a *Alarm) parseState(b []byte) error {
	if len(b) < stateSize || b[0] != stateVersion {
		return fmt.Errorf("%d bytes of version %d, want version %d", len(b), first(b), stateVersion)
	}
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[4+8*i:]) }
	r := &raised{id: n(0), severity: detectors.Severity(b[1]), since: moment{int64(n(1)), true}, told: int64(n(2)), epoch: n(6)}
	if r.severity > detectors.Critical || b[2] > byte(detectors.MaintenanceRequired) || b[3] > byte(detectors.NothingArrives) || r.id == 0 {
		return fmt.Errorf("severity %d, status %d, reason %d: out of bounds", b[1], b[2], b[3])
	}
	name, device, _ := strings.Cut(string(b[stateSize:]), "\x00")
	r.device = device
	r.last = Finding{Value: math.Float64frombits(n(3)), Time: r.told, Own: true, Traits: detectors.Traits{
		Name: name, Severity: r.severity, Status: detectors.NE107(b[2])}}
	r.last.Verdict = detectors.Verdict{Low: math.Float64frombits(n(4)), High: math.Float64frombits(n(5)), Reason: detectors.Reason(b[3])}
	*a = Alarm{raised: r}
	return nil
}

func first(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// Restored is the alarms that were active when the state was last committed.
type Restored struct {
	byKey map[string][]byte // state, nil where it is in kept
	kept  map[string]Alarm  // of this run
}

// Restore reads the alarm state that a spool kept.
func Restore(state []uplink.Entry) *Restored {
	r := &Restored{byKey: make(map[string][]byte, len(state)), kept: map[string]Alarm{}}
	for _, e := range state {
		r.byKey[e.Key] = e.Value
	}
	return r
}

// Alarm gives back the alarm of a channel, at rest where none was kept, and
// forgets it: what is left in the end belongs to channels that are gone.
func (r *Restored) Alarm(channel string, c Class) (a Alarm, err error) {
	key := stateKey(channel, c)
	if a, ok := r.kept[key]; ok {
		delete(r.kept, key)
		delete(r.byKey, key)
		return a, nil
	}
	if b, ok := r.byKey[key]; ok {
		delete(r.byKey, key)
		if err := a.parseState(b); err != nil {
			return Alarm{}, fmt.Errorf("restore alarm %s: %w", key, err)
		}
	}
	return a, nil
}

// Keep gives an alarm back whose channel is not judged for now, as if an earlier
// run had left it; also one at rest, which knows when it was cleared: readings
// from before that may come again.
func (r *Restored) Keep(channel string, c Class, a *Alarm) {
	if a.Active() || a.cleared != 0 {
		r.byKey[stateKey(channel, c)], r.kept[stateKey(channel, c)] = nil, *a
	}
}

// Orphans lists the channels and classes whose alarm is active though nothing
// has asked for it: channels that the configuration no longer names.
func (r *Restored) Orphans() (channels []string, classes []Class) {
	for key := range r.byKey {
		class, channel, _ := strings.Cut(key, "/")
		for c := range Classes {
			if class == classNames[c] {
				channels, classes = append(channels, channel), append(classes, c)
			}
		}
	}
	return channels, classes
}

// Any reports whether alarms are left that nothing has asked for.
func (r *Restored) Any() bool { return len(r.byKey) > 0 }

// Withdraw clears an alarm whose channel is no longer judged; now is of the
// steady clock.
func (b *Bell) Withdraw(c *Channel, class Class, a *Alarm, now int64) {
	if !a.Active() {
		return
	}
	f := a.last
	f.Time, f.Own, f.Quality, f.Verdict.Score = now, false, sensors.BadOutOfService, 0
	b.tell(c, class, a, f, uplink.Cleared)
}
