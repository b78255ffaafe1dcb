package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"tocsin/agent/config"
	"tocsin/sensors/csv"
)

// tryCSV reads the head and the end of a file.
func tryCSV(ctx context.Context, cfg *config.Config, name string) []answer {
	c := cfg.CSV[name]
	what := "csv." + name + " " + beside(cfg, c.Path)
	file, err := os.Open(c.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && c.Follow:
		return []answer{{mark: odd, what: what, said: "is not there yet: it is read as soon as it is"}}
	case err != nil:
		return []answer{failure(what, 0, err)}
	}
	defer file.Close() // only read
	rows, err := csv.NewReader(file)
	if err != nil {
		return []answer{failure(what, 0, err)}
	}
	header := rows.Header()
	var all []answer
	for _, column := range slices.Sorted(maps.Keys(c.Columns)) {
		if !slices.Contains(header[1:], column) {
			all = append(all, answer{mark: wrong, what: cfg.Where("csv", name, "columns", column), said: fmt.Sprintf("the file has no column %q", column), cure: columnCure(column, header[1:])})
		}
	}
	for _, column := range c.Ignore {
		if !slices.Contains(header, column) {
			all = append(all, answer{mark: odd, what: cfg.Where("csv", name, "ignore"), said: fmt.Sprintf("the file has no column %q to ignore", column), cure: columnCure(column, header[1:])})
		}
	}
	if len(all) > 0 {
		return all
	}
	h := peek(ctx, c)
	if h.err != nil {
		return []answer{failure(what, 0, h.err)}
	}
	said := plural(len(h.channels), "channel")
	if at, raw := lastRow(file); raw != "" {
		said += ", last row " + raw
		if !at.IsZero() && c.Follow {
			said += ", " + ago(time.Since(at))
		}
	}
	a := answer{mark: good, what: what, said: said}
	if len(h.refused) > 0 {
		a.mark, a.said, a.cure = odd, said+"; refused in its first rows: "+reasons(h.refused), csvCure(h.refused)
	}
	if len(h.channels) == 0 || h.every == 0 && len(h.refused) > 0 {
		a.mark = wrong
	}
	return []answer{a}
}

func csvCure(refused map[string]uint64) string {
	if refused["bad_time"] > 0 {
		return `set time_format as the first column writes it: "unix_ms", or how 2006-01-02 15:04:05 would be written`
	}
	return "look at the rows: tocsin score FILE.csv shows them"
}

func columnCure(column string, header []string) string {
	if near := config.Nearest(column, header); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "its columns are " + shortList(header)
}

// tail is how much of a file's end is read in search of its last row.
const tail = 128 << 10

// lastRow is the first cell of the file's last whole row, and the time that it
// says; zero where it is written in a way of its own.
func lastRow(file *os.File) (at time.Time, raw string) {
	info, err := file.Stat()
	if err != nil {
		return at, ""
	}
	from := max(0, info.Size()-tail)
	in := bufio.NewReader(io.NewSectionReader(file, from, tail))
	if _, err := in.ReadString('\n'); err != nil { // the header, or a row that was cut
		return at, ""
	}
	last := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil { // what has no end yet is being written
			break
		}
		if strings.TrimSpace(line) != "" {
			last = line
		}
	}
	if last == "" {
		return at, ""
	}
	separator := ","
	if i := strings.IndexAny(last, ",;\t"); i >= 0 {
		separator = last[i : i+1]
	}
	rows, err := csv.NewReader(strings.NewReader("time" + strings.Repeat(separator+"x", strings.Count(last, separator)) + "\n" + last))
	if err != nil {
		return at, ""
	}
	t, cell, err := rows.Read(make([]float64, len(rows.Header())-1))
	if err == nil || errors.Is(err, csv.ErrNotNumber) {
		at = time.Unix(0, t)
	}
	return at, strings.Clone(cell)
}

// ago says how long since, roughly.
func ago(d time.Duration) string {
	switch {
	case d < -time.Minute:
		return short(-d.Round(time.Second)) + " ahead of the gateway's clock"
	case d < time.Second:
		return "now"
	}
	return short(d.Round(time.Second)) + " ago"
}

// reasons is "3 malformed, 1 not_finite".
func reasons(by map[string]uint64) string {
	var all []string
	for _, why := range sortedKeys(by) {
		all = append(all, fmt.Sprintf("%d %s", by[why], why))
	}
	return strings.Join(all, ", ")
}

// shortList is the first of many words.
func shortList(words []string) string {
	const most = 8
	if len(words) > most {
		return strings.Join(words[:most], ", ") + " …"
	}
	return strings.Join(words, ", ")
}
