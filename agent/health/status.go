// Package health says how the agent fares: to a person, to Prometheus, and to
// the centre as the status record on a compacted topic.
//
// A Monitor completes what the agent tells of itself with what has to be
// remembered between two looks, and judges it by one table of rules. A Reporter
// sends the result to Kafka.
package health

import (
	_ "embed"
	"time"
)

//go:embed status.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of Status.
func Schema() []byte { return schema }

// Type is the ce_type of a status record.
const Type = "tocsin.status.v1"

// The states of the agent.
const (
	Starting = "starting"
	Running  = "running"
	Stopping = "stopping"
	Stopped  = "stopped" // the last word of one that stops in order
)

// Status is what the agent says of itself: the body of the status record, the
// answer of /status and what tocsin status prints. Its meaning is written down
// in the schema.
type Status struct {
	Device   string     `json:"device"`
	Site     string     `json:"site,omitempty"` // ISA-95 path
	Version  string     `json:"version"`
	Instance string     `json:"instance"` // random, another at each start of the process
	Boot     string     `json:"boot"`     // of the kernel
	State    string     `json:"state"`    // starting, running, stopping, stopped
	Started  time.Time  `json:"started"`
	SentAt   time.Time  `json:"sent_at"`
	NextBy   *time.Time `json:"next_by,omitempty"` // nil: none follows

	Health  Level    `json:"health"`
	NE107   string   `json:"ne107"`
	Reasons []Reason `json:"reasons"` // the gravest first

	Config  Config            `json:"configuration"`
	Clock   Clock             `json:"clock"`
	Sources map[string]Source `json:"sources"` // by name, as in "mqtt.hall"
	Judge   Judge             `json:"judge"`
	Alarms  int64             `json:"alarms_active"`
	// Pending events wait in memory for their commit; Trouble says why the disk
	// takes none.
	Pending int64  `json:"events_not_yet_on_disk"`
	Trouble string `json:"disk_trouble,omitempty"`
	Buffer  Buffer `json:"buffer"`
	Kafka   Kafka  `json:"kafka"`
	Reports Sent   `json:"status_records"`
	Usage   Usage  `json:"usage"`
	// Feeds are what is published beside the events: "scores", "samples".
	Feeds map[string]Feed `json:"feeds,omitempty"`
}

// Feed counts the rows of one stream since it began, one a channel and window.
type Feed struct {
	Topic   string            `json:"topic"`
	Made    uint64            `json:"made"`
	Sent    uint64            `json:"sent"`
	Dropped map[string]uint64 `json:"dropped,omitempty"` // by reason: buffer_full, not_taken, stopped
	Late    uint64            `json:"late_readings"`
}

// Lost is the sum of what was dropped.
func (f Feed) Lost() (rows uint64) {
	for _, n := range f.Dropped {
		rows += n
	}
	return rows
}

// Config says by which configuration the agent runs.
type Config struct {
	Path    string     `json:"path"`
	Hash    string     `json:"hash"` // SHA-256 of the file, hexadecimal
	Loaded  *time.Time `json:"loaded,omitempty"`
	Refused string     `json:"refused,omitempty"` // why a newer file is not applied
	// Expires is when the first of the certificates that it names does.
	Expires     *time.Time `json:"certificate_expires,omitempty"`
	Certificate string     `json:"certificate,omitempty"` // its file
}

// Clock says how far the gateway's clock can be believed.
type Clock struct {
	Trust  string  `json:"trust"`          // unset, unsynced, synced
	Uptime float64 `json:"uptime_seconds"` // of the kernel, sleep included
	// Zero is what the clock now says the time was at uptime 0: a time that was
	// taken while the clock was wrong, less the Zero of then, plus this one, is
	// right.
	Zero time.Time `json:"zero"`
}

// Source is one source with its ledger: read = judged + refused, once what
// waits is judged.
type Source struct {
	State   string            `json:"state"` // starting, running, waiting, ended, stopped
	Since   time.Time         `json:"since"`
	Error   string            `json:"error,omitempty"` // why it waits
	Runs    int               `json:"runs"`
	Down    *time.Time        `json:"down_since,omitempty"` // through all attempts since
	Read    uint64            `json:"read"`
	Judged  uint64            `json:"judged"`
	Refused map[string]uint64 `json:"refused,omitempty"` // by reason
	Latest  *float64          `json:"latest_reading_age_seconds,omitempty"`

	overrun uint64 // readings dropped within the hour because the queue was full
}

// Judge is the one goroutine that judges.
type Judge struct {
	Channels int     `json:"channels"`
	Idle     float64 `json:"idle_seconds"` // since it last came round; it does so each second
	Forgets  bool    `json:"forgets"`      // what is learned will not outlive a restart
}

// Buffer is the ledger of the events:
// appended = waiting + acknowledged + dropped + dead.
type Buffer struct {
	Appended     uint64                       `json:"appended"`
	Waiting      uint64                       `json:"waiting"`
	BySeverity   map[string]uint64            `json:"waiting_by_severity,omitempty"`
	InFlight     int                          `json:"in_flight"`
	Acknowledged uint64                       `json:"acknowledged"`
	Dropped      map[string]map[string]uint64 `json:"dropped,omitempty"` // by reason and severity
	DroppedHour  uint64                       `json:"dropped_last_hour"`
	Dead         uint64                       `json:"dead"`
	Repeated     uint64                       `json:"possibly_repeated"`
	OpenAlarms   int                          `json:"open_alarms"`
	Oldest       *time.Time                   `json:"oldest,omitempty"`
	Bytes        int64                        `json:"bytes"`
	MaxBytes     int64                        `json:"max_bytes,omitempty"`
	Files        int                          `json:"files"`
	// Lasts is how long it takes at the present rate until events are dropped;
	// nil while Kafka takes them, or where nothing can be said.
	Lasts *float64 `json:"lasts_seconds,omitempty"`
}

// Lost is how many events were dropped, for whatever reason.
func (b Buffer) Lost() (n uint64) {
	for _, by := range b.Dropped {
		for _, count := range by {
			n += count
		}
	}
	return n
}

// Kafka is how forwarding goes.
type Kafka struct {
	Connected  bool      `json:"connected"`
	Since      time.Time `json:"since"`
	Topic      string    `json:"topic"`
	Partitions int32     `json:"partitions"`
	Delivered  uint64    `json:"delivered_since_start"`
	Error      string    `json:"error,omitempty"`
	Cure       string    `json:"cure,omitempty"`
	Rival      *Rival    `json:"other_agent,omitempty"`
	// Unguarded says why another agent with this device's name would not be
	// noticed; empty where it would.
	Unguarded string `json:"other_agents_unnoticed,omitempty"`
}

// Rival is another living agent with this device's name.
type Rival struct {
	Host     string    `json:"host"`
	Instance string    `json:"instance"`
	Since    time.Time `json:"since"` // it was first noticed
}

// Sent counts the status records of this process.
type Sent struct {
	Sent   uint64     `json:"sent"`
	Failed uint64     `json:"failed"`
	Since  *time.Time `json:"failing_since,omitempty"`
	Error  string     `json:"error,omitempty"` // of the last attempt
	Cure   string     `json:"cure,omitempty"`
}

// Usage is what the process takes of the gateway.
type Usage struct {
	CPU          float64 `json:"cpu_seconds"` // since the start
	CPUPercent   float64 `json:"cpu_percent"` // of one core, over the last minute or so
	RSS          int64   `json:"memory_rss_anon_bytes"`
	Heap         int64   `json:"memory_heap_bytes"`
	Goroutines   int     `json:"goroutines"`
	Descriptors  int     `json:"open_descriptors"`
	Flash        int64   `json:"flash_written_bytes"`         // since the start
	FlashPerDay  float64 `json:"flash_written_bytes_per_day"` // as over the last hour
	MeasuredOver float64 `json:"measured_over_seconds"`       // what FlashPerDay is extrapolated from
}
