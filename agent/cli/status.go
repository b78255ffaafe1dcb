package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"tocsin/agent/clock"
	"tocsin/agent/config"
	"tocsin/agent/health"
	"tocsin/uplink/spool"
)

// status says how the running agent fares.
func status(c *call) error {
	file := c.configFlag()
	watch := c.flags.Bool("watch", false, "show it again every two seconds, until Ctrl-C")
	asJSON := c.flags.Bool("json", false, "for programs: as tocsin schema status says")
	if _, err := c.parse(0); err != nil {
		return err
	}
	cfg, err := config.Load(*file)
	socket := config.Socket(*file)
	if *watch {
		return c.watchStatus(socket, *asJSON)
	}
	s, lost := askStatus(socket)
	switch {
	case lost == nil:
		var bad config.Errors
		if errors.As(err, &bad) {
			fmt.Fprintf(c.Err, "%s: %s (see tocsin check); below is the agent that runs, with what it took last\n", bad[0].Place(), bad[0].Message)
		}
		return printStatus(c.Out, s, *asJSON)
	case err != nil:
		return err
	case !errors.Is(lost, errNobody):
		return lost
	}
	// What its files say is worth showing; that nobody runs is the answer.
	lost = errors.Join(lost, withSpool(c, cfg, func(sp *spool.Spool) error { s = atRest(sp); return nil }))
	if s.State == "" {
		return lost
	}
	return errors.Join(printStatus(c.Out, s, *asJSON), lost)
}

// atRest is the status of an agent that does not run.
func atRest(sp *spool.Spool) health.Status {
	return health.Status{State: health.Stopped, Reasons: []health.Reason{}, Sources: map[string]health.Source{}, Buffer: report(sp.Stats())}
}

// watchStatus shows the status again and again: in place on a terminal, one
// below the other elsewhere. The files of an agent that does not run are left
// alone: looking into them could keep it from starting.
func (c *call) watchStatus(socket string, asJSON bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		var at screen
		if !asJSON {
			at = screenOf(c.Out)
		}
		if _, err := c.Out.Write(at.frame(statusPage(socket, asJSON, at))); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			if at.rows > 0 {
				fmt.Fprintln(c.Out)
			}
			return nil
		case <-tick.C:
		}
	}
}

// statusPage is what a look shows: the status, or why there is none.
func statusPage(socket string, asJSON bool, at screen) []byte {
	var page bytes.Buffer
	p := &printer{to: &page, width: at.width()}
	switch s, err := askStatus(socket); {
	case err != nil:
		p.para("health", err.Error())
	case asJSON:
		_ = printStatus(&page, s, true) // a buffer takes all
	default:
		explainStatus(p, s)
	}
	if at.rows > 0 {
		p.para("", time.Now().Format(time.TimeOnly)+", again every 2 s until Ctrl-C")
	}
	return page.Bytes()
}

// askStatus is the status of the agent that answers on the socket.
func askStatus(socket string) (s health.Status, err error) {
	body, err := ask(socket, "/status")
	if err != nil {
		return s, err
	}
	defer body.Close()
	if err := json.NewDecoder(body).Decode(&s); err != nil {
		return s, fmt.Errorf("read the running agent's status: %w", err)
	}
	return s, nil
}

func printStatus(to io.Writer, s health.Status, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(to)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	p := &printer{to: to, width: screenOf(to).width()}
	explainStatus(p, s)
	return p.err
}

// explainStatus says it to a person, what to look at first on top.
func explainStatus(p *printer, s health.Status) {
	now := time.Now()
	if s.State == health.Stopped {
		printStore(p, s, now)
		return
	}
	printHealth(p, s, now)
	for _, name := range sortedKeys(s.Sources) {
		p.para("source", sourceLine(name, s.Sources[name], now))
	}
	if s.Kafka.Error != "" {
		s.Kafka.Error, s.Kafka.Cure = "see above", ""
	}
	printStore(p, s, now)
	printGateway(p, s, now)
}

// usageLine is what the agent takes of the gateway. What it writes in its first
// hour, when it makes its files, is nothing to judge a day by.
func usageLine(u health.Usage) string {
	line := fmt.Sprintf("CPU %.1f %% of a core, memory %s, %d goroutines, %d files open", u.CPUPercent, size(float64(u.RSS)), u.Goroutines, u.Descriptors)
	switch over := seconds(u.MeasuredOver); {
	case over >= time.Hour:
		line += fmt.Sprintf("; writes %s a day to disk", size(u.FlashPerDay))
	case over > 0:
		line += fmt.Sprintf("; wrote %s to disk in %s", size(u.FlashPerDay*over.Hours()/24), span(over))
	}
	return line
}

// sourceLine is one source with its ledger.
func sourceLine(name string, src health.Source, now time.Time) string {
	line := fmt.Sprintf("%s %s for %s", name, src.State, span(now.Sub(src.Since)))
	if src.Down != nil {
		line = fmt.Sprintf("%s down for %s, tried %d times", name, span(now.Sub(*src.Down)), src.Runs)
	}
	refused := uint64(0)
	for _, n := range src.Refused {
		refused += n
	}
	line += fmt.Sprintf("; read %d = judged %d + refused %d%s", src.Read, src.Judged, refused, counts(src.Refused))
	if waiting := src.Read - src.Judged - refused; waiting > 0 {
		line += fmt.Sprintf(" + waiting %d", waiting)
	}
	if src.Latest != nil {
		line += fmt.Sprintf("; latest %s ago", span(seconds(*src.Latest)))
	}
	return line
}

// printHealth says what a person should look at first.
func printHealth(p *printer, s health.Status, now time.Time) {
	p.para("health", s.Health.String())
	for _, r := range s.Reasons {
		p.para("", fmt.Sprintf("- %s (%s, for %s)", r, r.Level, span(now.Sub(r.Since))))
		if r.Cure != "" {
			p.para("", "  "+r.Cure)
		}
	}
	p.para("agent", fmt.Sprintf("%s for %s, version %s, device %s", agentState(s.State), span(now.Sub(s.Started)), s.Version, s.Device))
	p.para("judge", fmt.Sprintf("%s, %s active", plural(s.Judge.Channels, "channel"), plural(int(s.Alarms), "alarm")))
}

// printGateway says what the agent stands on.
func printGateway(p *printer, s health.Status, now time.Time) {
	line := fmt.Sprintf("%s, SHA-256 %.12s", s.Config.Path, s.Config.Hash)
	if s.Config.Loaded != nil {
		line += fmt.Sprintf(", loaded %s ago", span(now.Sub(*s.Config.Loaded)))
	}
	p.para("config", line)
	p.para("clock", clockWords(s.Clock.Trust))
	p.para("resources", usageLine(s.Usage))
}

// clockWords says what a trust means for the times in events.
func clockWords(trust string) string {
	if trust == clock.Unsynced.String() {
		return trust + ": it shows a likely time, but no time server keeps it; see timedatectl"
	}
	return trust
}

func agentState(state string) string {
	if state == health.Running {
		return "runs"
	}
	return "is " + state
}

// printStore says what waits for Kafka and why.
func printStore(p *printer, s health.Status, now time.Time) {
	if s.State == health.Stopped {
		p.para("agent", "not running; this is read from its files")
	} else {
		p.para("kafka", kafkaLine(s.Kafka))
		if u := s.Kafka.Unguarded; u != "" {
			p.para("", "another agent with this device's name would not be noticed: "+u)
		}
	}
	if s.Trouble != "" {
		p.para("disk", fmt.Sprintf("%s; %d events wait in memory", s.Trouble, s.Pending))
	}
	b := s.Buffer
	room := size(float64(b.Bytes))
	if b.MaxBytes > 0 {
		room += " of " + size(float64(b.MaxBytes))
	}
	p.para("buffer", fmt.Sprintf("%d events wait%s, %d of them in flight; %s in %s", b.Waiting, counts(b.BySeverity), b.InFlight, room, plural(b.Files, "file")))
	if b.Oldest != nil {
		p.para("", fmt.Sprintf("the oldest happened at %s, %s ago", b.Oldest.Local().Format(time.DateTime), span(now.Sub(*b.Oldest))))
	}
	if b.Lasts != nil {
		p.para("", fmt.Sprintf("at the present rate it takes all events for %s more", span(seconds(*b.Lasts))))
	}
	for _, why := range sortedKeys(b.Dropped) {
		p.para("", "dropped because "+strings.ReplaceAll(why, "_", " ")+counts(b.Dropped[why]))
	}
	p.para("ledger", fmt.Sprintf("made %d = acknowledged %d + waiting %d + dropped %d + dead %d; possibly repeated %d",
		b.Appended, b.Acknowledged, b.Waiting, b.Lost(), b.Dead, b.Repeated))
	for _, name := range sortedKeys(s.Feeds) {
		f := s.Feeds[name]
		p.para(name, fmt.Sprintf("%d rows made for %s, %d sent; dropped %d%s", f.Made, f.Topic, f.Sent, f.Lost(), counts(f.Dropped)))
	}
}

// kafkaLine says in one line how the uplink fares.
func kafkaLine(s health.Kafka) string {
	switch {
	case s.Error != "":
		line := fmt.Sprintf("holding events since %s: %s", s.Since.Local().Format(time.DateTime), s.Error)
		if s.Cure != "" {
			line += "; " + s.Cure
		}
		return line
	case !s.Connected:
		return "not yet connected"
	}
	return fmt.Sprintf("topic %s, %d partitions, %d events delivered since the start", s.Topic, s.Partitions, s.Delivered)
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

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// span writes a duration as people say it.
func span(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", max(d, 0).Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	case d < 2*time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	case d < 48*time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	case d > 1000*24*time.Hour:
		return "years"
	}
	return fmt.Sprintf("%.0f days", d.Hours()/24)
}

// size writes bytes as people say them.
func size(bytes float64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if bytes < 1000 {
			return strings.TrimSuffix(fmt.Sprintf("%.1f", bytes), ".0") + " " + unit
		}
		bytes /= 1024
	}
	return fmt.Sprintf("%.1f TiB", bytes)
}
