package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"tocsin/agent/config"
	"tocsin/sensors/csv"
)

// scoring is the options of the score command.
type scoring struct {
	trainRows int
	only      []string // channels, empty: all
	ignore    []string
	jsonl     bool
}

// score judges a CSV file row by row, in one pass and never looking ahead: the
// same detectors as at a site, without the alarms.
func score(c *call) error {
	file := c.flags.String("config", "", "judge as this site's configuration `file` says; default: as a new site would")
	model := c.flags.String("model", "", "a trained model `file`")
	train := c.flags.Int("train-rows", 0, "the first `N` rows are known to be normal: learn them first, then keep to them")
	channels := c.flags.String("channels", "", "judge only these columns, `a,b`")
	ignore := c.flags.String("ignore", "", "leave out these columns, `c,d`")
	format := c.flags.String("format", "csv", "write csv or jsonl")
	words, err := c.parse(1)
	if err != nil {
		return err
	}
	if *format != "csv" && *format != "jsonl" {
		return fmt.Errorf("--format %s is not known, use csv or jsonl: %w", *format, errUsage)
	}
	if *train < 0 {
		return fmt.Errorf("--train-rows %d is less than none: %w", *train, errUsage)
	}
	if *model != "" {
		return fmt.Errorf("--model %s: this version of tocsin trains no models yet; use --train-rows: %w", *model, errUsage)
	}
	cfg := config.Default()
	if *file != "" {
		if cfg, err = config.Load(*file); err != nil {
			return err
		}
	}
	in := c.In
	if len(words) == 1 && words[0] != "-" {
		f, err := os.Open(words[0])
		if err != nil {
			return fmt.Errorf("read what to score: %w", err)
		}
		defer f.Close() // only read from
		if info, err := f.Stat(); err == nil && info.IsDir() {
			return fmt.Errorf("read what to score: %s is a folder", words[0])
		}
		in = f
	}
	return c.scoreRows(cfg, in, scoring{*train, splitList(*channels), splitList(*ignore), *format == "jsonl"})
}

func splitList(s string) []string {
	if s == "" {
		return nil
	}
	list := strings.Split(s, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// scoreRows writes one line a row, flushed before the next row is read.
func (c *call) scoreRows(cfg *config.Config, in io.Reader, o scoring) error {
	rows, err := csv.NewReader(in)
	if err != nil {
		return err
	}
	columns := rows.Header()[1:]
	if err := known(columns, o); err != nil {
		return err
	}
	for i, name := range columns {
		if !o.wants(name) {
			rows.Skip(i)
		}
	}
	if !anyLimit(cfg, columns, o) {
		fmt.Fprintf(c.Err, "tocsin score: no limit of %s is for one of the columns %s: limits judge nothing here; give a column the name of its channel\n",
			cfg.Path, strings.Join(columns, ", "))
	}
	s := newScorer(cfg, columns, o)
	out := bufio.NewWriter(c.Out)
	if !o.jsonl {
		fmt.Fprintln(out, "time,score,anomaly,change,top")
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the header: %w", err)
	}
	values := make([]float64, len(columns))
	var seen tally
	for last := int64(0); ; seen.rows++ {
		t, raw, err := rows.Read(values)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, csv.ErrBadRow) {
			return fmt.Errorf("read row %d: %w", seen.rows+1, err)
		}
		r := row{Time: raw, Top: "bad"}
		if err != nil {
			seen.refuse(raw, err)
			s.learned() // a bad row is one of the first N too
		} else {
			if seen.rows > seen.bad && t < last {
				seen.back++
			}
			last = t
			r = s.judge(t, raw, values)
		}
		if r.Top == "" { // nothing but text in it
			seen.bad++
			r.Top = "bad"
		}
		r.write(out, o.jsonl)
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write the score of row %d: %w", seen.rows+1, err)
		}
	}
	return seen.tell(c.Err, o.trainRows)
}

// tally counts the rows of a file.
type tally struct {
	rows, bad, back int
	noTime          string // the first cell that should be a time and is none
}

func (n *tally) refuse(raw string, err error) {
	if errors.Is(err, csv.ErrBadTime) && n.noTime == "" {
		n.noTime = strings.Clone(raw)
	}
	n.bad++
}

// tell says at the end what was not as it should be. It is an error that nothing
// could be read.
func (n *tally) tell(to io.Writer, trainRows int) error {
	switch {
	case n.rows == n.bad && n.noTime != "":
		return fmt.Errorf("none of %d rows could be read: the first column must be the time, and %q is none; write 2026-11-23T14:55:06Z (RFC 3339), "+
			"2026-11-23 14:55:06[.789], or seconds or milliseconds since 1970 (Unix)", n.rows, n.noTime)
	case n.rows == n.bad:
		return fmt.Errorf("none of %d rows could be read; the first column must be the time, the others numbers", n.rows)
	case n.rows <= trainRows:
		fmt.Fprintf(to, "tocsin score: only %d rows came and --train-rows is %d: nothing was judged\n", n.rows, trainRows)
	}
	if n.bad > 0 || n.back > 0 {
		fmt.Fprintf(to, "tocsin score: %d rows, of which %d bad (ragged, or text in a number) and %d with a step back in time\n", n.rows, n.bad, n.back)
	}
	return nil
}

// anyLimit reports whether a limit is for one of the columns, or none was set.
func anyLimit(cfg *config.Config, columns []string, o scoring) bool {
	return len(cfg.Limit) == 0 || slices.ContainsFunc(columns, func(name string) bool { _, ok := cfg.Limit[name]; return ok && o.wants(name) })
}

// wants reports whether a column is to be judged.
func (o scoring) wants(name string) bool {
	return (len(o.only) == 0 || slices.Contains(o.only, name)) && !slices.Contains(o.ignore, name)
}

// known refuses names that no column has, and a choice of none.
func known(columns []string, o scoring) error {
	for _, name := range slices.Concat(o.only, o.ignore) {
		if !slices.Contains(columns, name) {
			return fmt.Errorf("there is no column %q; the file has %s: %w", name, strings.Join(columns, ", "), errUsage)
		}
	}
	if !slices.ContainsFunc(columns, o.wants) {
		return fmt.Errorf("--channels and --ignore leave no column to judge: %w", errUsage)
	}
	return nil
}

// row is one line of output.
type row struct {
	Time    string
	Score   float64
	Anomaly bool
	Change  bool
	Top     string
}

func (r row) write(to *bufio.Writer, jsonl bool) {
	bit := map[bool]string{false: "0", true: "1"}
	number := strconv.FormatFloat(r.Score, 'f', -1, 64)
	if jsonl {
		fmt.Fprintf(to, "{\"time\":%s,\"score\":%s,\"anomaly\":%s,\"change\":%s,\"top\":%s}\n",
			quote(r.Time), number, bit[r.Anomaly], bit[r.Change], quote(r.Top))
		return
	}
	fmt.Fprintf(to, "%s,%s,%s,%s,%s\n", csvField(r.Time), number, bit[r.Anomaly], bit[r.Change], csvField(r.Top))
}

// csvField quotes a name that would break the line (RFC 4180).
func csvField(s string) string {
	if strings.ContainsAny(s, ",;\"\r\n") {
		return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
	}
	return s
}
