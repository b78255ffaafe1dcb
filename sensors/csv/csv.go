// Package csv reads measurements from a CSV file: replays a recording with the
// gaps it was recorded with, or follows a file that another program appends to,
// through its rotation. Reader reads CSV from any stream, row by row.
package csv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"

	"tocsin/sensors"
)

// Options says which file to read, and how.
type Options struct {
	Path string // first line a header, first column the time
	// Follow reads what is appended from now on, and never ends; without it the
	// file is read once.
	Follow bool
	// Speed of a replay: 1 as recorded, 10 ten times as fast, 0 as fast as the
	// detectors can judge.
	Speed float64
	// TimeFormat is auto, rfc3339, unix, unix_ms, unix_us, unix_ns, or a layout of
	// Go's time package; empty is auto.
	TimeFormat string
	// Machine is what the columns belong to.
	Machine string
	// Columns maps a column's name to "channel" or "channel unit". A channel
	// without a dot belongs to Machine. Empty: every column of numbers is a channel,
	// found when the file is read and named after its column, with the unit the
	// header gives in brackets, as in "pressure [bar]".
	Columns map[string]string
	Ignore  []string // columns to leave out
}

// Source reads one file. It implements sensors.Source; Run once at a time.
type Source struct {
	o      Options
	clock  clock
	wanted []string // columns, in the order of channels; nil: whatever is found
	chans  []sensors.Channel

	// Of a followed file, from one Run to the next: how far it was read, and what
	// knows its header.
	place place
	rows  *Reader
}

// New checks the options. It does not touch the file.
func New(o Options) (*Source, error) {
	if o.Path == "" {
		return nil, errors.New("path is missing: name the file to read")
	}
	if !(o.Speed >= 0) || math.IsInf(o.Speed, 0) {
		return nil, fmt.Errorf("speed %v: it must be 0 or more", o.Speed)
	}
	c, err := newClock(o.TimeFormat)
	if err != nil {
		return nil, err
	}
	s := &Source{o: o, clock: c}
	for _, column := range slices.Sorted(maps.Keys(o.Columns)) {
		name, unit, _ := strings.Cut(strings.TrimSpace(o.Columns[column]), " ")
		if name == "" {
			return nil, fmt.Errorf("column %q: the channel is missing: write \"channel\" or \"channel unit\"", column)
		}
		ucum, err := sensors.ParseUnit(unit)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", column, err)
		}
		if !strings.Contains(name, ".") {
			name = s.o.Machine + "." + name
		}
		s.wanted = append(s.wanted, column)
		s.chans = append(s.chans, sensors.Channel{Name: name, Unit: ucum})
	}
	return s, nil
}

// Channels lists the channels of Options.Columns, in the order of the columns'
// names; none where they are found in the file.
func (s *Source) Channels() []sensors.Channel { return slices.Clone(s.chans) }

// Run replays or follows the file. A row that is not like the header says, a
// cell that is no number and a time that is none are refused and counted; an
// empty cell is no reading. Everything else is put with back-pressure.
func (s *Source) Run(ctx context.Context, out *sensors.Writer) error {
	var err error
	if s.o.Follow {
		err = s.follow(ctx, out)
	} else {
		err = s.replay(ctx, out)
	}
	if err != nil && !strings.Contains(err.Error(), s.o.Path) { // os names the file itself
		return fmt.Errorf("%s: %w", s.o.Path, err)
	}
	return err
}

func (s *Source) replay(ctx context.Context, out *sensors.Writer) error {
	f, err := open(s.o.Path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	rows := newReader(f, s.clock)
	rows.numeric = s.wanted != nil
	if err := rows.readHeader(); err != nil {
		return err
	}
	p := &pass{Source: s, out: out, rows: rows, pace: pace{speed: s.o.Speed}}
	return p.run(ctx)
}

// open refuses what is not a file on disk: opening a pipe would wait for its
// writer, and nothing could stop that.
func open(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open %s: it is not a regular file", path)
	}
	return os.Open(path)
}

// pass is one pass over the rows of a file.
type pass struct {
	*Source
	out     *sensors.Writer
	rows    *Reader
	pace    pace
	ids     []int // by column after the time: its channel, or one of the two below; nil: not known yet
	values  []float64
	samples []sensors.Sample
	done    func() // called after each row; may be nil
}

const (
	notWanted = -1
	noRoom    = -2 // no room for another channel: its readings are refused
)

// run reads rows to the end of the input.
func (p *pass) run(ctx context.Context) error {
	for {
		p.values = slices.Grow(p.values[:0], len(p.rows.flaws))[:len(p.rows.flaws)]
		t, _, err := p.rows.Read(p.values)
		switch {
		case err == nil || errors.Is(err, ErrNotNumber):
			err = p.row(ctx, t)
		case errors.Is(err, ErrBadTime):
			p.refuseRow(sensors.BadTime)
			err = nil
		case errors.Is(err, ErrTooLong):
			p.refuseRow(sensors.TooLarge)
			err = nil
		case errors.Is(err, ErrBadRow):
			p.refuseRow(sensors.Malformed)
			err = nil
		case errors.Is(err, io.EOF):
			return nil
		}
		if err != nil {
			return err
		}
		if p.done != nil {
			p.done()
		}
	}
}

func (p *pass) row(ctx context.Context, t int64) error {
	if p.o.Follow && p.rows.partial { // its writer never finished it
		p.refuseRow(sensors.Malformed)
		return nil
	}
	if p.ids == nil {
		if err := p.plan(); err != nil {
			return err
		}
	}
	if !p.o.Follow {
		if err := p.pace.wait(ctx, t); err != nil {
			return err
		}
	}
	p.samples = p.samples[:0]
	for i, id := range p.ids {
		f := p.rows.flaws[i]
		switch {
		case id == notWanted || f == empty || f == skipped:
		case f == text:
			p.out.Refuse(sensors.Malformed, 1)
		case f == notFinite:
			p.out.Refuse(sensors.NotFinite, 1)
		case id == noRoom:
			p.out.Refuse(sensors.UnknownChannel, 1)
		default:
			p.samples = append(p.samples, sensors.Sample{Time: t, Value: p.values[i], Channel: sensors.ChannelID(id), Quality: sensors.DeviceTime})
		}
	}
	return p.out.Put(ctx, p.samples...)
}

// refuseRow counts every reading that the row should have had.
func (p *pass) refuseRow(why sensors.Reason) {
	n := len(p.wanted)
	if p.wanted == nil {
		for i, name := range p.rows.Header()[1:] {
			if !p.rows.IsText(i) && !p.ignored(name) {
				n++
			}
		}
	}
	p.out.Refuse(why, n)
}

// plan finds each column's channel. Text columns must be known by now.
func (p *pass) plan() error {
	names := p.rows.Header()[1:]
	ids := make([]int, len(names))
	for i, name := range names {
		ids[i] = notWanted
		if slices.Contains(names[:i], name) && !p.ignored(name) {
			return fmt.Errorf("two columns are called %q: rename one, or ignore them", name)
		}
		if p.wanted != nil || p.rows.IsText(i) || p.ignored(name) {
			continue
		}
		switch id, err := p.out.Register(found(p.o.Machine, name)); {
		case errors.Is(err, sensors.ErrTooManyChannels):
			ids[i] = noRoom
		case err != nil:
			return err
		default:
			ids[i] = int(id)
		}
	}
	for id, column := range p.wanted {
		i := slices.Index(names, column)
		if i < 0 {
			return fmt.Errorf("there is no column %q; the header has %s", column, strings.Join(names, ", "))
		}
		ids[i] = id
	}
	for i, id := range ids {
		if id == notWanted {
			p.rows.Skip(i)
		}
	}
	p.ids = ids
	return nil
}

func (s *Source) ignored(column string) bool { return slices.Contains(s.o.Ignore, column) }

// found names the channel of a column, "Bearing temp [°C]" of pump1 for example
// pump1.Bearing_temp in Cel. A bracket that holds no unit stays in the name.
func found(machine, column string) sensors.Channel {
	name, unit := column, ""
	if open := strings.LastIndexAny(column, "[("); open > 0 && strings.ContainsRune("])", rune(column[len(column)-1])) {
		if ucum, err := sensors.ParseUnit(column[open+1 : len(column)-1]); err == nil {
			name, unit = strings.TrimSpace(column[:open]), ucum
		}
	}
	name = strings.Map(func(r rune) rune {
		if r == '.' || r <= ' ' { // the last dot ends the machine's name
			return '_'
		}
		return r
	}, name)
	return sensors.Channel{Name: machine + "." + name, Unit: unit}
}
