package csv

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// read gives one line a row: raw time, values or what is wrong.
func read(t *testing.T, text string) []string {
	t.Helper()
	r, err := NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	values := make([]float64, len(r.Header())-1)
	for {
		at, raw, err := r.Read(values)
		switch {
		case errors.Is(err, io.EOF):
			return rows
		case errors.Is(err, ErrBadRow):
			for name, e := range map[string]error{"ragged": ErrRagged, "long": ErrTooLong, "time": ErrBadTime, "number": ErrNotNumber} {
				if errors.Is(err, e) {
					rows = append(rows, fmt.Sprintf("%s bad %s", raw, name))
				}
			}
		case err != nil:
			t.Fatal(err)
		default:
			rows = append(rows, fmt.Sprint(raw, " ", at/1e9, " ", values))
		}
	}
}

func TestReader(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"comma":                {"t,a,b\n1,2,3\n4,-5e-1,+.5\n", []string{"1 1 [2 3]", "4 4 [-0.5 0.5]"}},
		"semicolon":            {"t;a;b\n1;2;3\n", []string{"1 1 [2 3]"}},
		"tab":                  {"t\ta, in bar\tb\n1\t2\t3\n", []string{"1 1 [2 3]"}},
		"decimal comma":        {"t;a;b\n1;2,5;-0,25\n", []string{"1 1 [2.5 -0.25]"}},
		"crlf, bom, no end":    {"\xef\xbb\xbft,a\r\n1,2\r\n3,4", []string{"1 1 [2]", "3 3 [4]"}},
		"quotes":               {"\"t\",\"a, b\"\n\"1\" , \"2\"\n\"1\",\"2\"\"\"\n\"1\",\"2\n", []string{"1 1 [2]", "1 bad number", "1 bad ragged"}},
		"blanks":               {"t, a ,b\n\n 1, 2 , 3\n\n", []string{"1 1 [2 3]"}},
		"separator at the end": {"t,a,\n1,2,\n1,2\n1,2,3\n", []string{"1 1 [2]", "1 1 [2]", "1 bad ragged"}},
		"ragged":               {"t,a,b\n1,2\n2,2,3,4\n3,4,5\n4\n", []string{"1 bad ragged", "2 bad ragged", "3 3 [4 5]", "4 bad ragged"}},
		"not numbers": {"t,a,b\n1,2,3\n2,x,3\n3,NaN,3\n4,,3\n5,1e999,3\n6,-inf,3\n7,1 2,3\n8,0x,3\n9,4,5\n",
			[]string{"1 1 [2 3]", "2 bad number", "3 bad number", "4 bad number", "5 bad number", "6 bad number", "7 bad number", "8 bad number", "9 9 [4 5]"}},
		"bad time":                           {"t,a\nyesterday,2\n,2\n", []string{"yesterday bad time", " bad time"}},
		"text column":                        {"t,state,a\n1,2\n2,running,3\n3,stopped,4\n4,,5\n", []string{"1 bad ragged", "2 2 [NaN 3]", "3 3 [NaN 4]", "4 4 [NaN 5]"}},
		"missing at first is no text column": {"t,a,b,c,d\n1,n/a,NULL,-,\n2,3,4,5,6\n", []string{"1 bad number", "2 2 [3 4 5 6]"}},
		"too long":                           {"t,a\n1," + strings.Repeat("2", longestLine) + "\n3,4\n", []string{"1 bad long", "3 3 [4]"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := read(t, c.text); !slices.Equal(got, c.want) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	r, err := NewReader(strings.NewReader("time;\"a; b\";;Pressure (bar)\n"))
	if want := []string{"time", "a; b", "column3", "Pressure (bar)"}; err != nil || !slices.Equal(r.Header(), want) {
		t.Errorf("Header() = %q, %v; want %q", r.Header(), err, want)
	}
	for text, says := range map[string]string{
		"":                        "empty",
		"\n\n":                    "empty",
		"just one\n1\n":           "one column",
		"2026-11-23 14:55:06,1\n": "begins with a time",
		"1795445706;1\n":          "begins with a time",
		"\xff\xfet\x00":           "UTF-16",
		"t,\"a\n1,2\n":            "quote",
		strings.Repeat("a", longestLine+1) + "\n": "longer",
	} {
		if _, err := NewReader(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("NewReader(%.20q): %v, want an error that says %q", text, err, says)
		}
	}
}

// A column that nobody wants makes no row bad.
func TestSkip(t *testing.T) {
	r, err := NewReader(strings.NewReader("t,a,b\n1,2,3\n2,oops,3\n"))
	if err != nil {
		t.Fatal(err)
	}
	r.Skip(0)
	values := make([]float64, 2)
	for range 2 {
		if _, _, err := r.Read(values); err != nil || !math.IsNaN(values[0]) || values[1] != 3 || r.IsText(0) {
			t.Errorf("%v, %v; want [NaN 3]", values, err)
		}
	}
}

// Over a pipe, each row is there before the next is written, and the header
// before the first.
func TestLockstep(t *testing.T) {
	in, out := io.Pipe()
	write := make(chan string, 2)
	go func() {
		for s := range write {
			io.WriteString(out, s)
		}
		out.Close()
	}()
	write <- "time,a\n"
	r, err := NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float64, 1)
	for i := range 100 {
		write <- fmt.Sprintf("%d,", i)
		write <- fmt.Sprintf("%d\n", 2*i)
		if at, raw, err := r.Read(values); err != nil || at != int64(i)*1e9 || raw != fmt.Sprint(i) || values[0] != float64(2*i) {
			t.Fatalf("row %d: %d, %q, %v, %v", i, at, raw, values, err)
		}
	}
	close(write)
	if _, _, err := r.Read(values); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// endless gives one line again and again.
type endless struct {
	line []byte
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		k := copy(p[n:], e.line[e.at:])
		e.at = (e.at + k) % len(e.line)
		n += k
	}
	return n, nil
}

func rows(tb testing.TB) func() {
	in := io.MultiReader(strings.NewReader("time,a,b,c,d,e,f,g,h\n"), &endless{line: []byte("2026-11-23 14:55:06.789,0.0252,0.0405,1.5,0.055,76.2,26.3,233.1,125.0001\n")})
	r, err := NewReader(in)
	if err != nil {
		tb.Fatal(err)
	}
	values := make([]float64, 8)
	return func() {
		if _, _, err := r.Read(values); err != nil {
			tb.Fatal(err)
		}
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(10_000, rows(t)); n != 0 {
		t.Errorf("%v allocations a row, want 0", n)
	}
}

func BenchmarkRead(b *testing.B) {
	f := rows(b)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
}

// Whatever comes: one answer a line, finite numbers only, and the same answers
// whether the bytes come at once or one by one.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"t,a\n1,2\n", "t;a;b\r\n1;\"2\";3,5\r\nx;;\n", "\xef\xbb\xbft\ta\n1\t\"\"\"\n", "t,a,\n1,nan\n\"\"\",\"", "t,\"a\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all := answers(t, bytes.NewReader(data))
		single := answers(t, oneByOne{bytes.NewReader(data)})
		if !slices.Equal(all, single) {
			t.Errorf("at once: %q\none by one: %q", all, single)
		}
		if lines := bytes.Count(data, []byte("\n")) + 1; len(all) > lines {
			t.Errorf("%d rows of %d lines", len(all), lines)
		}
	})
}

type oneByOne struct{ r io.Reader }

func (o oneByOne) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func answers(t *testing.T, in io.Reader) (all []string) {
	r, err := NewReader(in)
	if err != nil {
		return []string{err.Error()}
	}
	values := make([]float64, len(r.Header())-1)
	for end := time.Now().Add(10 * time.Second); ; {
		at, raw, err := r.Read(values)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil && !errors.Is(err, ErrBadRow) || time.Now().After(end) {
			t.Fatalf("row %d: %v", len(all), err)
		}
		for i, v := range values {
			if err == nil && (math.IsInf(v, 0) || math.IsNaN(v) && !r.IsText(i)) {
				t.Fatalf("row %d has %v", len(all), values)
			}
		}
		if err != nil {
			at = 0
		}
		all = append(all, fmt.Sprint(at, raw, err))
	}
}
