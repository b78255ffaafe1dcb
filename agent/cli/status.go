package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/agent/pipeline"
	"tocsin/detectors"
	"tocsin/uplink"
	"tocsin/uplink/spool"
)

// status is what the running agent says of itself on its unix socket.
type status struct {
	Version string                  `json:"version"`
	Device  string                  `json:"device"`
	Alarms  int64                   `json:"alarms_active"`
	Pending int64                   `json:"events_not_yet_on_disk"`
	Trouble string                  `json:"disk_trouble,omitempty"`
	Buffer  bufferReport            `json:"buffer"`
	Kafka   kafkaStatus             `json:"kafka"`
	Sources map[string]sourceStatus `json:"sources"`
}

// bufferReport is the spool's ledger:
// appended = waiting + acknowledged + dropped + dead.
type bufferReport struct {
	Appended     uint64                       `json:"appended"`
	Waiting      uint64                       `json:"waiting"`
	BySeverity   map[string]uint64            `json:"waiting_by_severity,omitempty"`
	InFlight     int                          `json:"in_flight"`
	Acknowledged uint64                       `json:"acknowledged"`
	Dropped      map[string]map[string]uint64 `json:"dropped,omitempty"` // by reason and severity
	Dead         uint64                       `json:"dead"`
	Repeated     uint64                       `json:"possibly_repeated"`
	OpenAlarms   int                          `json:"open_alarms"`
	Oldest       *time.Time                   `json:"oldest,omitempty"`
	Bytes        int64                        `json:"bytes"`
	Files        int                          `json:"files"`
}

// kafkaStatus is how the uplink fares.
type kafkaStatus struct {
	Connected  bool      `json:"connected"`
	Since      time.Time `json:"since"`
	Topic      string    `json:"topic"`
	Partitions int32     `json:"partitions"`
	Delivered  uint64    `json:"delivered_since_start"`
	Error      string    `json:"error,omitempty"`
	Cure       string    `json:"cure,omitempty"`
}

// sourceStatus is one source with its ledger: read = judged + refused.
type sourceStatus struct {
	pipeline.SourceStatus
	Read    uint64            `json:"read"`
	Judged  uint64            `json:"judged"`
	Refused map[string]uint64 `json:"refused,omitempty"`
}

func (a *agent) status() status {
	s := status{Version: versionText(), Device: a.config.Site.Device, Alarms: a.street.Judge.Alarms.Load(),
		Pending: a.street.Keeper.Pending.Load(), Buffer: report(a.spool.Stats()), Kafka: kafkaReport(a.street.Forwarder.Status()),
		Sources: map[string]sourceStatus{}}
	if err := a.street.Keeper.Trouble.Load(); err != nil {
		s.Trouble = (*err).Error()
	}
	for _, src := range a.street.Sources {
		counters := &src.Writer.Counters
		s.Sources[src.Name] = sourceStatus{src.Status(), counters.Read.Load(), counters.Judged.Load(), counters.ByReason()}
	}
	return s
}

func report(s spool.Stats) bufferReport {
	r := bufferReport{Appended: s.Appended, Waiting: s.Waiting(), BySeverity: bySeverity(s.Queued), Acknowledged: s.Acknowledged, Dead: s.Buried,
		Repeated: s.Repeated, OpenAlarms: s.OpenAlarms, Bytes: s.Bytes, Files: s.Files}
	for _, f := range s.InFlight {
		r.InFlight += f.Records
	}
	if !s.Oldest.IsZero() {
		r.Oldest = &s.Oldest
	}
	for why, n := range s.Dropped {
		if r.Dropped == nil {
			r.Dropped = map[string]map[string]uint64{}
		}
		r.Dropped[why.String()] = bySeverity(n)
	}
	return r
}

func bySeverity(n [detectors.Critical + 1]uint64) map[string]uint64 {
	by := map[string]uint64{}
	for s, count := range n {
		if count > 0 {
			by[detectors.Severity(s).String()] = count
		}
	}
	return by
}

func kafkaReport(s uplink.Status) kafkaStatus {
	return kafkaStatus{s.Connected, s.Since, s.Topic, s.Partitions, s.Delivered, s.Error, s.Cure}
}

// String says in one line how the uplink fares.
func (s kafkaStatus) String() string {
	switch {
	case s.Error != "":
		line := fmt.Sprintf("holding events since %s: %s", s.Since.Format(time.DateTime), s.Error)
		if s.Cure != "" {
			line += "; " + s.Cure
		}
		return line
	case !s.Connected:
		return "not yet connected"
	}
	return fmt.Sprintf("topic %s, %d partitions, %d events delivered since the start", s.Topic, s.Partitions, s.Delivered)
}

func (s status) print(to io.Writer) error {
	p := &printer{to: to}
	if s.Device == "" {
		p.line("agent      not running; this is read from its files")
	} else {
		p.line("agent      runs, version %s, device %s, %d alarms active", s.Version, s.Device, s.Alarms)
		p.line("kafka      %s", s.Kafka)
	}
	if s.Trouble != "" {
		p.line("disk       %s; %d events wait in memory", s.Trouble, s.Pending)
	}
	s.Buffer.print(p)
	for _, name := range sortedKeys(s.Sources) {
		src := s.Sources[name]
		p.line("source     %s is %s since %s; read %d = judged %d + refused %d%s", name, src.State, src.Since.Format(time.DateTime),
			src.Read, src.Judged, src.Read-src.Judged, counts(src.Refused))
		if src.Error != "" {
			p.line("           %s", src.Error)
		}
	}
	return p.err
}

func (r bufferReport) print(p *printer) {
	p.line("buffer     %d events wait%s, %d of them in flight; %.1f MiB in %d files", r.Waiting, counts(r.BySeverity), r.InFlight, float64(r.Bytes)/(1<<20), r.Files)
	if r.Oldest != nil {
		p.line("           the oldest happened at %s", r.Oldest.Local().Format(time.DateTime))
	}
	lost := uint64(0)
	for _, why := range sortedKeys(r.Dropped) {
		for _, n := range r.Dropped[why] {
			lost += n
		}
		p.line("           dropped because %s%s", strings.ReplaceAll(why, "_", " "), counts(r.Dropped[why]))
	}
	p.line("ledger     made %d = acknowledged %d + waiting %d + dropped %d + dead %d; possibly repeated %d",
		r.Appended, r.Acknowledged, r.Waiting, lost, r.Dead, r.Repeated)
}

// counts writes counters by name, " (malformed 3, too_large 1)".
func counts(n map[string]uint64) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, n[name]))
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}
