package web

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/agent/health"
)

// metrics writes the status in Prometheus's text exposition format 0.0.4. All
// figures are counted elsewhere already, so nothing is kept here; the names
// follow prometheus.io/docs/practices/naming: base units, _total for what only
// grows, one family a meaning.
func metrics(s *health.Status) []byte {
	e := &exposition{}
	e.family("tocsin_build_info", "gauge", "Always 1; which version runs.")
	e.value(1, "version", s.Version)
	e.family("tocsin_health", "gauge", "0 ok, 1 degraded, 2 failed.")
	e.value(float64(s.Health))
	e.family("tocsin_problem", "gauge", "Always 1 while it holds; why the health is not ok.")
	for _, r := range s.Reasons {
		e.value(1, "what", r.What, "source", r.Source, "level", r.Level.String())
	}
	e.family("tocsin_config_refused", "gauge", "1 while a newer configuration is refused.")
	e.truth(s.Config.Refused != "")
	e.family("tocsin_clock_trust", "gauge", "1 for the level to which the clock can be believed.")
	for _, t := range []string{"unset", "unsynced", "synced"} {
		e.truth(t == s.Clock.Trust, "trust", t)
	}
	if at := s.Config.Expires; at != nil {
		e.family("tocsin_certificate_expiry_timestamp_seconds", "gauge", "When the first of the gateway's own certificates expires.")
		e.value(seconds(*at), "file", s.Config.Certificate)
	}
	e.sources(s)
	e.buffer(s)
	e.kafka(s)
	e.process(s)
	return e.out
}

func (e *exposition) sources(s *health.Status) {
	names := slices.Sorted(maps.Keys(s.Sources))
	each := func(name, kind, help string, value func(health.Source) float64) {
		e.family(name, kind, help)
		for _, n := range names {
			e.value(value(s.Sources[n]), "source", n)
		}
	}
	each("tocsin_source_up", "gauge", "1 while the source can be read.", func(src health.Source) float64 {
		return truth(src.State == "running" && src.Down == nil)
	})
	each("tocsin_source_starts_total", "counter", "How often the source was started.", func(src health.Source) float64 { return float64(src.Runs) })
	each("tocsin_readings_total", "counter", "Readings that the source has given: judged + refused, once what waits is judged.",
		func(src health.Source) float64 { return float64(src.Read) })
	each("tocsin_readings_judged_total", "counter", "Readings that the detectors have judged.", func(src health.Source) float64 { return float64(src.Judged) })
	e.family("tocsin_readings_refused_total", "counter", "Readings that were not judged, by the reason.")
	for _, n := range names {
		refused := s.Sources[n].Refused
		for _, why := range slices.Sorted(maps.Keys(refused)) {
			e.value(float64(refused[why]), "source", n, "reason", why)
		}
	}
	e.family("tocsin_source_latest_reading_age_seconds", "gauge", "How long ago the latest reading that was judged arrived.")
	for _, n := range names {
		if age := s.Sources[n].Latest; age != nil {
			e.value(*age, "source", n)
		}
	}
	e.family("tocsin_channels", "gauge", "Channels that are known.")
	e.value(float64(s.Judge.Channels))
	e.family("tocsin_judge_idle_seconds", "gauge", "Since the detectors last came round, which they do each second.")
	e.value(s.Judge.Idle)
	e.family("tocsin_alarms_active", "gauge", "Alarms that are raised and not cleared.")
	e.value(float64(s.Alarms))
}

func (e *exposition) buffer(s *health.Status) {
	b := s.Buffer
	e.family("tocsin_events_total", "counter", "Events that were made, since the buffer was: acknowledged + dropped + dead + those that wait.")
	e.value(float64(b.Appended))
	e.family("tocsin_events_acknowledged_total", "counter", "Events that Kafka has.")
	e.value(float64(b.Acknowledged))
	e.family("tocsin_events_dropped_total", "counter", "Events that were dropped from the buffer, by the reason and the severity.")
	for _, why := range slices.Sorted(maps.Keys(b.Dropped)) {
		for _, severity := range slices.Sorted(maps.Keys(b.Dropped[why])) {
			e.value(float64(b.Dropped[why][severity]), "reason", why, "severity", severity)
		}
	}
	e.family("tocsin_events_dead_total", "counter", "Events that Kafka will never take; they are kept aside.")
	e.value(float64(b.Dead))
	e.family("tocsin_events_possibly_repeated_total", "counter", "Events that may be in the topic twice, with one ce_id.")
	e.value(float64(b.Repeated))
	e.family("tocsin_buffer_events", "gauge", "Events that wait in the buffer, by severity.")
	for _, severity := range []string{"low", "medium", "high", "critical"} {
		e.value(float64(b.BySeverity[severity]), "severity", severity)
	}
	e.family("tocsin_buffer_uncommitted_events", "gauge", "Events in memory that are not yet in the buffer.")
	e.value(float64(s.Pending))
	e.family("tocsin_buffer_bytes", "gauge", "Disk space that the buffer takes.")
	e.value(float64(b.Bytes))
	e.family("tocsin_buffer_max_bytes", "gauge", "Disk space that the buffer may take; from 90 % of it on events are dropped.")
	e.value(float64(b.MaxBytes))
	e.family("tocsin_buffer_oldest_seconds", "gauge", "How old the oldest event that waits is; 0 where none does.")
	age := 0.0
	if b.Oldest != nil {
		age = max(0, s.SentAt.Sub(*b.Oldest).Seconds())
	}
	e.value(age)
	e.family("tocsin_disk_up", "gauge", "1 while the disk takes events.")
	e.truth(s.Trouble == "")
}

func (e *exposition) kafka(s *health.Status) {
	e.family("tocsin_kafka_up", "gauge", "1 while Kafka takes events.")
	e.truth(s.Kafka.Connected)
	e.family("tocsin_kafka_delivered_total", "counter", "Events that Kafka has acknowledged since the start.")
	e.value(float64(s.Kafka.Delivered))
	e.family("tocsin_kafka_other_agent", "gauge", "1 while another agent sends with this device's name.")
	e.truth(s.Kafka.Rival != nil)
	e.family("tocsin_status_records_total", "counter", "Status records, by whether Kafka took them.")
	e.value(float64(s.Reports.Sent), "result", "sent")
	e.value(float64(s.Reports.Failed), "result", "failed")
	e.feeds(s)
}

func (e *exposition) feeds(s *health.Status) {
	if len(s.Feeds) == 0 {
		return
	}
	streams := slices.Sorted(maps.Keys(s.Feeds))
	e.family("tocsin_feed_rows_total", "counter", "Rows of scores and samples made, one a channel and window.")
	for _, stream := range streams {
		e.value(float64(s.Feeds[stream].Made), "stream", stream)
	}
	e.family("tocsin_feed_rows_sent_total", "counter", "Of these, rows that Kafka has acknowledged.")
	for _, stream := range streams {
		e.value(float64(s.Feeds[stream].Sent), "stream", stream)
	}
	e.family("tocsin_feed_rows_dropped_total", "counter", "Of these, rows that were dropped, by reason.")
	for _, stream := range streams {
		for _, why := range slices.Sorted(maps.Keys(s.Feeds[stream].Dropped)) {
			e.value(float64(s.Feeds[stream].Dropped[why]), "stream", stream, "reason", why)
		}
	}
}

// process has the names that every Prometheus client library gives them.
func (e *exposition) process(s *health.Status) {
	u := s.Usage
	one := func(name, kind, help string, value float64) {
		e.family(name, kind, help)
		e.value(value)
	}
	one("process_cpu_seconds_total", "counter", "Total user and system CPU time spent in seconds.", u.CPU)
	one("process_resident_memory_bytes", "gauge", "Resident anonymous memory (RssAnon) in bytes; the buffer's mapped files are page cache.", float64(u.RSS))
	one("process_open_fds", "gauge", "Number of open file descriptors.", float64(u.Descriptors))
	one("process_start_time_seconds", "gauge", "Start time of the process since unix epoch in seconds.", seconds(s.Started))
	one("go_goroutines", "gauge", "Number of goroutines that currently exist.", float64(u.Goroutines))
	one("go_memstats_heap_alloc_bytes", "gauge", "Number of heap bytes allocated and still in use.", float64(u.Heap))
	one("tocsin_flash_written_bytes_total", "counter", "Bytes that the process has had written to disk (write_bytes of /proc/self/io).", float64(u.Flash))
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}

// exposition is the text so far.
type exposition struct {
	out  []byte
	name string // of the present family
}

// family begins the next one; its values follow.
func (e *exposition) family(name, kind, help string) {
	e.name = name
	e.out = append(e.out, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

// escape is what a label's value needs (exposition format, "Comments, help text,
// and type information"). It holds no state.
func escape(value string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(strings.ToValidUTF8(value, "\uFFFD"))
}

// value writes one sample; labels are names and values in turn. One that is
// empty is left out, which means the same.
func (e *exposition) value(v float64, labels ...string) {
	e.out = append(e.out, e.name...)
	sep := byte('{')
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] == "" {
			continue
		}
		e.out = append(append(e.out, sep), labels[i]+`="`+escape(labels[i+1])+`"`...)
		sep = ','
	}
	if sep == ',' {
		e.out = append(e.out, '}')
	}
	e.out = append(strconv.AppendFloat(append(e.out, ' '), v, 'g', -1, 64), '\n')
}

func (e *exposition) truth(is bool, labels ...string) { e.value(truth(is), labels...) }
