package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"tocsin/agent/config"
	"tocsin/detectors"
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
		in = f
	}
	return c.scoreRows(cfg, in, scoring{*train, splitList(*channels), splitList(*ignore), *format == "jsonl"})
}

func splitList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// scoreRows writes one line a row, flushed before the next row is read.
func (c *call) scoreRows(cfg *config.Config, in io.Reader, o scoring) error {
	rows, err := csv.NewReader(in)
	if err != nil {
		return fmt.Errorf("read the header: %w", err)
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
	s := newScorer(cfg, columns, o)
	out := bufio.NewWriter(c.Out)
	if !o.jsonl {
		fmt.Fprintln(out, "time,score,anomaly,change,top")
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write the header: %w", err)
	}
	values := make([]float64, len(columns))
	var bad, back, n int
	for last := int64(0); ; n++ {
		t, raw, err := rows.Read(values)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil && !errors.Is(err, csv.ErrBadRow) {
			return fmt.Errorf("read row %d: %w", n+1, err)
		}
		r := row{Time: raw, Top: "bad"}
		if err != nil {
			bad++
		} else {
			if n > 0 && t < last {
				back++
			}
			last = t
			r = s.judge(t, raw, values)
		}
		r.write(out, o.jsonl)
		if err := out.Flush(); err != nil {
			return fmt.Errorf("write the score of row %d: %w", n+1, err)
		}
	}
	if bad > 0 || back > 0 {
		fmt.Fprintf(c.Err, "tocsin score: %d rows, of which %d bad (ragged, or text in a number) and %d with a step back in time\n", n, bad, back)
	}
	if n == 0 || n == bad {
		return fmt.Errorf("none of %d rows could be read; the first column must be the time, the others numbers", n)
	}
	return nil
}

// wants reports whether a column is to be judged.
func (o scoring) wants(name string) bool {
	return (len(o.only) == 0 || slices.Contains(o.only, name)) && !slices.Contains(o.ignore, name)
}

// known refuses names that no column has.
func known(columns []string, o scoring) error {
	for _, name := range slices.Concat(o.only, o.ignore) {
		if !slices.Contains(columns, name) {
			return fmt.Errorf("there is no column %q; the file has %s: %w", name, strings.Join(columns, ", "), errUsage)
		}
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

// rest is how many rows an alarm of a file that was not trained on keeps the
// next from beginning: what is found meanwhile belongs to it.
const rest = 90

// beneath is the score of a row that is as anomalous as one that begins an
// alarm, and begins none.
const beneath = 0.499

// scorer is the detectors of all channels of one machine.
type scorer struct {
	channels  []scored
	trainRows int
	rows      int
	anomalous bool // the row before was
	began     int  // row that began the newest alarm; 0 before the first
}

type scored struct {
	name      string
	column    int
	detectors []detectors.Detector
}

func newScorer(cfg *config.Config, columns []string, o scoring) *scorer {
	s := &scorer{trainRows: o.trainRows}
	for i, name := range columns {
		if !o.wants(name) {
			continue
		}
		ch := scored{name: name, column: i}
		w := watchRows(cfg, name, o.trainRows)
		for _, d := range w.Detectors {
			// A sensor's own fault is no anomaly of the machine.
			if d.Traits().Status == detectors.Normal {
				ch.detectors = append(ch.detectors, d)
			}
		}
		s.channels = append(s.channels, ch)
	}
	return s
}

// judge is the worst of all channels. While the known rows last nothing is found.
func (s *scorer) judge(t int64, raw string, values []float64) row {
	r := row{Time: raw}
	for _, ch := range s.channels {
		if math.IsNaN(values[ch.column]) {
			continue // a column of text
		}
		if r.Top == "" {
			r.Top = ch.name
		}
		w := detectors.Window{Time: t, Arrived: t, Value: values[ch.column]}
		for _, d := range ch.detectors {
			v := d.Judge(w)
			if v.Score > r.Score {
				r.Score, r.Top = v.Score, ch.name
			}
			r.Change = r.Change || v.Change
		}
	}
	if s.rows++; s.rows <= s.trainRows {
		if s.rows == s.trainRows {
			s.freeze()
		}
		r.Score, r.Change = 0, false
	}
	s.alarm(&r)
	return r
}

// alarm decides between a row that begins an alarm, whose score reaches the
// line, and one in which it goes on. Where normal rows were learned every
// anomalous row reaches the line: what is normal does not move there.
func (s *scorer) alarm(r *row) {
	r.Anomaly = r.Score >= detectors.Line
	if r.Anomaly && s.trainRows == 0 {
		if s.anomalous || s.began > 0 && s.rows-s.began < rest {
			r.Score = beneath
		} else {
			s.began = s.rows
		}
	}
	s.anomalous = r.Anomaly
}

func (s *scorer) freeze() {
	for _, ch := range s.channels {
		for _, d := range ch.detectors {
			if l, ok := d.(detectors.Learner); ok {
				l.Freeze()
			}
		}
	}
}
