package csv

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unsafe"
)

// A bad row is told of and reading goes on: each of the others is an ErrBadRow.
var (
	ErrBadRow    = errors.New("bad row")
	ErrRagged    = fmt.Errorf("%w: not as many cells as the header, or a quote that is not closed", ErrBadRow)
	ErrTooLong   = fmt.Errorf("%w: longer than %d bytes", ErrBadRow, longestLine)
	ErrBadTime   = fmt.Errorf("%w: the first cell is no time", ErrBadRow)
	ErrNotNumber = fmt.Errorf("%w: a cell is no finite number", ErrBadRow)
)

// longestLine bounds a line: some 6,000 columns.
const longestLine = 64 << 10

// flaw says what is wrong with one cell.
type flaw uint8

const (
	sound     flaw = iota
	empty          // no reading at that time
	text           // not a number where one should be
	notFinite      // NaN, Inf, or too large for a float64
	skipped        // a column of text, which is no channel
)

// Reader reads rows of numbers from CSV (RFC 4180) as it comes: each row as soon
// as its line is complete, never waiting for another. It finds out by itself
// whether comma, semicolon or tab separates, and accepts a byte order mark, CRLF
// and quoted cells; beside semicolon or tab also the decimal comma. A row is one
// line: a quoted cell holds no line break.
type Reader struct {
	in        *bufio.Reader
	clock     clock
	separator byte
	header    []string
	columns   []bool // which are text; nil until the first whole row has shown it
	skip      []bool // which nobody wants
	flaws     []flaw // of the row read last, without the time
	numeric   bool   // every column is to hold numbers: none is found to be text
	held      []byte // a line read in search of a header, to be read again as a row
	partial   bool   // the row read last ended with the input, not with its line
	offset    int64  // of the next unread line
}

// NewReader reads the header from r. The time format is found out row by row:
// RFC 3339, 2006-01-02 15:04:05.999 (UTC), or seconds, milliseconds,
// microseconds or nanoseconds since 1970, which their size tells apart.
func NewReader(r io.Reader) (*Reader, error) {
	rows := newReader(r, automatic)
	return rows, rows.readHeader()
}

// newReader reads nothing yet.
func newReader(in io.Reader, c clock) *Reader {
	return &Reader{in: bufio.NewReaderSize(in, longestLine), clock: c}
}

// goOn reads further rows of the same columns from another input, whose offset
// is given.
func (r *Reader) goOn(in io.Reader, offset int64) {
	r.in.Reset(in)
	r.offset = offset
}

// Header is the names of all columns, the time's first. A column without a name
// is called "column" and its number.
func (r *Reader) Header() []string { return r.header }

// IsText reports whether the i-th column after the time holds text instead of
// readings. That is known from the first row that has as many cells as the
// header; before, it is false.
func (r *Reader) IsText(i int) bool { return r.columns != nil && r.columns[i] }

// Skip leaves the i-th column after the time out: its cells are not looked at
// and make no row bad, and its values are NaN.
func (r *Reader) Skip(i int) { r.skip[i] = true }

func (r *Reader) readHeader() error {
	line, err := r.line()
	for err == nil && len(line) == 0 {
		line, err = r.line()
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("read the header: the input is empty")
	case err != nil:
		return fmt.Errorf("read the header: %w", err)
	}
	if bytes.HasPrefix(line, []byte("\xff\xfe")) || bytes.HasPrefix(line, []byte("\xfe\xff")) {
		return errors.New("read the header: the file is in UTF-16; save it as UTF-8")
	}
	line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
	if r.isRow(line) {
		if r.header != nil { // a file begun anew by a program that writes its header once
			r.held = bytes.Clone(line)
			return nil
		}
		return fmt.Errorf("read the header: the first line begins with a time, %q; put a line of column names above it", line[:min(len(line), 40)])
	}
	return r.setHeader(line)
}

// isRow reports whether the line begins with a time, so that it is no header.
func (r *Reader) isRow(line []byte) bool {
	for _, separator := range []byte(",;\t") {
		cell, _, ok := next(bytes.Clone(line), separator)
		if _, isTime := r.clock(cell); ok && isTime {
			return true
		}
	}
	return false
}

func (r *Reader) setHeader(line []byte) error {
	r.separator = separatorOf(line)
	r.header, r.columns = nil, nil
	for rest, more := line, true; more; {
		cell, after, ok := next(rest, r.separator)
		if !ok {
			return errors.New("read the header: a quote is not closed")
		}
		more = after != nil
		rest = after
		if len(cell) == 0 && !more && len(r.header) > 0 { // a separator ends each line
			break
		}
		name := string(cell)
		if name == "" {
			name = fmt.Sprintf("column%d", len(r.header)+1)
		}
		r.header = append(r.header, name)
	}
	if len(r.header) < 2 {
		return fmt.Errorf("read the header: %q names one column; a time and at least one more are needed, with comma, semicolon or tab between them", r.header)
	}
	r.flaws, r.skip = make([]flaw, len(r.header)-1), make([]bool, len(r.header)-1)
	return nil
}

// separatorOf is the most frequent of the three outside quotes.
func separatorOf(line []byte) byte {
	var count [256]int
	quoted := false
	for _, c := range line {
		if c == '"' {
			quoted = !quoted
		}
		if !quoted {
			count[c]++
		}
	}
	best := byte(',')
	for _, c := range []byte(";\t") {
		if count[c] > count[best] {
			best = c
		}
	}
	return best
}

// Read reads one row into values, of which there are len(Header())-1; NaN stands
// for what is no number, without an error where IsText says that the whole
// column is none. raw is the first cell as it was written. It is there also when
// err is an ErrBadRow, and both it and values hold until the next Read. io.EOF
// ends the input. Read allocates nothing.
func (r *Reader) Read(values []float64) (t int64, raw string, err error) {
	line, err := r.line()
	for err == nil && len(line) == 0 {
		line, err = r.line()
	}
	if err != nil && !errors.Is(err, ErrTooLong) {
		return 0, "", err
	}
	cell, rest, ok := next(line, r.separator)
	raw = unsafe.String(unsafe.SliceData(cell), len(cell)) // no copy: it lives in the buffer, as Read says
	if err != nil {
		return 0, raw, err
	}
	if !ok || !r.cells(values, rest) {
		return 0, raw, ErrRagged
	}
	if t, ok = r.clock(cell); !ok {
		return 0, raw, ErrBadTime
	}
	for _, f := range r.flaws {
		if f != sound && f != skipped {
			return t, raw, ErrNotNumber
		}
	}
	return t, raw, nil
}

// cells reads what follows the time and reports whether there is as much of it
// as the header says.
func (r *Reader) cells(values []float64, rest []byte) bool {
	first := r.columns == nil
	for i := range r.flaws {
		if rest == nil {
			return false
		}
		cell, after, ok := next(rest, r.separator)
		if !ok {
			return false
		}
		rest = after
		if r.skip[i] || !first && r.columns[i] {
			values[i], r.flaws[i] = math.NaN(), skipped
			continue
		}
		values[i], r.flaws[i] = value(cell, r.separator != ',')
	}
	if len(rest) > 0 {
		return false
	}
	if first {
		r.findText(values)
	}
	return true
}

// findText takes the first whole row for what the others will be like: where it
// has a word, the column is text. What stands for a missing number is no word.
func (r *Reader) findText(values []float64) {
	r.columns = make([]bool, len(r.flaws))
	for i, f := range r.flaws {
		if f == text && !r.numeric {
			r.columns[i], r.flaws[i], values[i] = true, skipped, math.NaN()
		}
	}
}

// line gives the next line without its end. A line that is too long is read to
// its end and only begun in what is given, with ErrTooLong.
func (r *Reader) line() ([]byte, error) {
	if held := r.held; held != nil {
		r.held = nil
		return held, nil
	}
	line, err := r.in.ReadSlice('\n')
	r.offset += int64(len(line))
	r.partial = errors.Is(err, io.EOF)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return r.begun(line)
	case errors.Is(err, io.EOF) && len(line) > 0:
	case err != nil:
		return nil, err
	}
	line = bytes.TrimSuffix(line, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// begun keeps the first cell of a line that is too long and drops the rest.
func (r *Reader) begun(line []byte) ([]byte, error) {
	start := bytes.Clone(line[:64])
	for {
		more, err := r.in.ReadSlice('\n')
		r.offset += int64(len(more))
		if err == nil || errors.Is(err, io.EOF) {
			return start, ErrTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
	}
}

// next cuts the first cell off a line, unquoted in place. rest is nil after the
// last cell; ok is false where a quote is not closed as it should be.
func next(line []byte, separator byte) (cell, rest []byte, ok bool) {
	for len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	if len(line) == 0 || line[0] != '"' {
		end := bytes.IndexByte(line, separator)
		if end < 0 {
			return bytes.TrimSpace(line), nil, true
		}
		return bytes.TrimSpace(line[:end]), line[end+1:], true
	}
	n := 0
	for i := 1; i < len(line); i++ {
		if line[i] != '"' {
			line[n] = line[i]
			n++
			continue
		}
		if i+1 < len(line) && line[i+1] == '"' { // two stand for one
			line[n] = '"'
			n++
			i++
			continue
		}
		switch after := bytes.TrimLeft(line[i+1:], " "); {
		case len(after) == 0:
			return line[:n], nil, true
		case after[0] == separator:
			return line[:n], after[1:], true
		}
		return line[:n], nil, false
	}
	return line[:n], nil, false
}

// value reads a number. The words that programs write where one is missing count
// as not finite, so that they do not make a column one of text.
func value(cell []byte, commas bool) (float64, flaw) {
	if len(cell) == 0 {
		return math.NaN(), empty
	}
	if c := cell[0] | 0x20; c == 'n' || c == 'i' || c == '?' || c == '#' || len(cell) == 1 && c == '-' {
		for _, word := range []string{"nan", "na", "n/a", "#n/a", "null", "nil", "none", "inf", "infinity", "?", "-"} {
			if len(cell) == len(word) && bytes.EqualFold(cell, []byte(word)) {
				return math.NaN(), notFinite
			}
		}
		return math.NaN(), text
	}
	if commas {
		if i := bytes.IndexByte(cell, ','); i >= 0 && bytes.IndexByte(cell, '.') < 0 {
			cell[i] = '.'
		}
	}
	if c := cell[0]; c != '-' && c != '+' && c != '.' && (c < '0' || c > '9') {
		return math.NaN(), text
	}
	v, err := strconv.ParseFloat(string(cell), 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (math.IsNaN(v) || math.IsInf(v, 0)):
		return math.NaN(), notFinite
	case err != nil:
		return math.NaN(), text
	}
	return v, sound
}
