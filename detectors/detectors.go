// Package detectors says what a detector sees and what it says.
//
// A Detector judges one channel, moment by moment, in one pass and without
// looking ahead. It answers with a Verdict whose score is in [0,1] and whose
// line is 0.5, the same for every method. One method lives in one sub-package;
// this package imports none.
package detectors

import "encoding"

// Line is the score at which an alarm begins.
const Line = 0.5

// Window is what a detector sees at one moment.
type Window struct {
	Time    int64   // when the value was measured, nanoseconds since 1970 UTC
	Arrived int64   // when it reached the gateway, nanoseconds on a clock that never jumps
	Value   float64 // in the channel's unit; always finite
}

// Verdict is what a detector says of one moment.
type Verdict struct {
	Score     float64  // in [0,1]; never NaN; Line and above is anomalous; 0 until the detector is ready
	Low, High float64  // what was expected, in the channel's unit; -Inf or +Inf where that side is open
	Severity  Severity // how grave, where the detector itself knows (limits do); None leaves it to Traits
	Reason    Reason   // why, when Score ≥ Line
	Change    bool     // a change point starts here
}

// Detector judges one channel. It is used by one goroutine, allocates nothing,
// never blocks, and alarms only once it is ready.
type Detector interface {
	Judge(w Window) Verdict
	Traits() Traits
}

// Ticker is a Detector that also judges time in which nothing arrived. Tick is
// called about once a second with the arrival clock's reading.
type Ticker interface {
	Detector
	Tick(arrived int64) Verdict
}

// Learner is a Detector whose state outlives a restart. The bytes are its own;
// UnmarshalBinary refuses, changing nothing, what another version or other
// settings wrote.
type Learner interface {
	Detector
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
	// Freeze ends learning: what was learned so far is the normal from now on.
	Freeze()
}

// Traits are the fixed facts of a detector that turn its verdicts into events.
type Traits struct {
	Name     string   // the method's standard name, as events carry it: "ewma", "cusum"
	Severity Severity // of an alarm whose verdict names none
	Status   NE107    // above Normal: the sensor itself is judged, not the process
}

// Severity orders events: it decides what is sent first and dropped last.
type Severity uint8

// The four severities, after ISA-18.2's alarm priorities.
const (
	None     Severity = iota
	Low               // a sensor's own fault
	Medium            // a learned detector
	High              // a high or low limit
	Critical          // a high_high or low_low limit, a lost safety reading
)

var severityNames = [...]string{"none", "low", "medium", "high", "critical"}

func (s Severity) String() string { return severityNames[s] }

// ParseSeverity is the inverse of String for the four severities.
func ParseSeverity(name string) (Severity, bool) {
	for s := Low; s <= Critical; s++ {
		if severityNames[s] == name {
			return s, true
		}
	}
	return None, false
}

// NE107 is the status of a sensor as NAMUR recommendation NE 107 has it.
type NE107 uint8

// The five statuses of NE 107, in its order.
const (
	Normal NE107 = iota
	Failure
	CheckFunction
	OutOfSpecification
	MaintenanceRequired
)

var ne107Names = [...]string{"normal", "failure", "check_function", "out_of_specification", "maintenance_required"}

func (s NE107) String() string { return ne107Names[s] }

// Reason says in a word why a verdict reached the line.
type Reason uint8

// The reasons that detectors give.
const (
	Unnamed       Reason = iota
	AboveHighHigh        // a limit set by a person
	AboveHigh
	BelowLow
	BelowLowLow
	Unusual        // far from what this channel usually reads
	MeanHigher     // the mean has shifted up
	MeanLower      // the mean has shifted down
	TooFast        // changes faster than it should
	OutsideRange   // outside what the sensor can physically read
	NotChanging    // the same value for too long
	NothingArrives // no reading for too long
)

// Phrase completes the sentence "pump1.vibration …".
func (r Reason) Phrase() string {
	return [...]string{"is anomalous", "is above high_high", "is above high", "is below low", "is below low_low",
		"is far from what it usually reads", "has shifted up", "has shifted down", "changes too fast",
		"is outside what the sensor can read", "does not change any more", "has gone silent"}[r]
}
