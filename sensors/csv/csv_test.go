package csv_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"tocsin/sensors"
	"tocsin/sensors/csv"
	"tocsin/sensors/sensortest"
)

const header = "time,temp,flow\n"

// file writes text to a new file of the given name in a folder of its own.
func file(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "log.csv")
	write(t, path, os.O_CREATE|os.O_TRUNC, text)
	return path
}

func write(t testing.TB, path string, flag int, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|flag, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func source(t testing.TB, o csv.Options) *csv.Source {
	t.Helper()
	if o.Machine == "" {
		o.Machine = "pump1"
	}
	s, err := csv.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// device is a program that writes a log file and can be moved away.
func device(path string) *sensortest.Device {
	return &sensortest.Device{
		Name: path,
		Feed: func(t testing.TB, readings []sensors.Sample) {
			var b strings.Builder
			for frame := range slices.Chunk(readings, 2) {
				fmt.Fprintf(&b, "%s,%v,%v\n", time.Unix(0, frame[0].Time).UTC().Format("2006-01-02 15:04:05.000"), frame[0].Value, frame[1].Value)
			}
			if f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0); err == nil { // while broken nobody writes
				_, err = f.WriteString(b.String())
				if e := f.Close(); err != nil || e != nil {
					t.Errorf("write: %v, %v", err, e)
				}
			}
		},
		Bad: func(t testing.TB) int {
			write(t, path, os.O_APPEND, "2026-11-23 06:00:00,1\n2026-11-23 06:00:00,x,\nyesterday,1,2\n2026-11-23 06:00:00,NaN,1e999\n")
			return 2 + 1 + 2 + 2
		},
		Break: func(t testing.TB) {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
		},
		Mend: func(t testing.TB) { write(t, path, os.O_CREATE|os.O_EXCL, header) },
	}
}

func TestContract(t *testing.T) {
	sensortest.Run(t, sensortest.Case{
		Channels: []sensors.Channel{{Name: "pump1.temp"}, {Name: "pump1.flow"}},
		Found:    true,
		Times:    true,
		New: func(t *testing.T) (sensors.Source, *sensortest.Device) {
			path := file(t, header)
			return source(t, csv.Options{Path: path, Follow: true}), device(path)
		},
	})
}

// Columns that the configuration names are known before the file is.
func TestNamedColumns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.csv")
	s := source(t, csv.Options{Path: path, TimeFormat: "unix_ms", Columns: map[string]string{"T1": "temp °C", "F": "hall.flow m³/h"}})
	want := []sensors.Channel{{Name: "hall.flow", Unit: "m3/h"}, {Name: "pump1.temp", Unit: "Cel"}} // in the order of the columns' names
	if got := s.Channels(); !slices.Equal(got, want) {
		t.Errorf("Channels() = %v, want %v", got, want)
	}
	write(t, path, os.O_CREATE, "ms,T1,junk,F\n1500,20,x,30\n1600,warm,y,31\n1700,22,7,\n")
	r := sensortest.Start(t, s)
	r.End(t, 5*time.Second)
	r.Drain(t)
	r.Ledger(t)
	if temp, flow := r.Values("pump1.temp"), r.Values("hall.flow"); !slices.Equal(temp, []float64{20, 22}) || !slices.Equal(flow, []float64{30, 31}) {
		t.Errorf("temp %v, flow %v; want [20 22] and [30 31]", temp, flow)
	}
	if got := r.Samples()[0].Time; got != 1500e6 || r.Writer.Counters.Refused(sensors.Malformed) != 1 {
		t.Errorf("first time %d, %d malformed; want 1500 ms and 1", got, r.Writer.Counters.Refused(sensors.Malformed))
	}
}

func TestReplay(t *testing.T) {
	path := file(t, "time;Bearing temp [°C];state;flow (m³/h);weird.name [x];p\n"+
		"2026-11-23 06:00:00;20,5;run;1;2;3\n"+
		"2026-11-23 06:00:01;21;stop;;3;4\n"+ // an empty cell is no reading
		"2026-11-23 06:00:02;22;run;oops;4\n"+ // ragged: four readings refused
		"2026-11-23 06:00:03;23;run;nan;bad;5\n"+
		"later;24;run;3;4;6\n")
	r := sensortest.Start(t, source(t, csv.Options{Path: path, Ignore: []string{"p"}}))
	r.End(t, 10*time.Second)
	r.Drain(t)
	r.Ledger(t)
	for name, want := range map[string][]float64{
		"pump1.Bearing_temp": {20.5, 21, 23}, "pump1.flow": {1}, "pump1.weird_name_[x]": {2, 3},
	} {
		if got := r.Values(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if n := r.Queue.NumChannels(); n != 3 {
		t.Errorf("%d channels, want 3", n)
	}
	for id, want := range []string{"Cel", "m3/h", ""} {
		if got := r.Queue.Channel(sensors.ChannelID(id)).Unit; got != want {
			t.Errorf("%s is in %q, want %q", r.Queue.Channel(sensors.ChannelID(id)).Name, got, want)
		}
	}
	c := &r.Writer.Counters
	if m, n, b := c.Refused(sensors.Malformed), c.Refused(sensors.NotFinite), c.Refused(sensors.BadTime); m != 4 || n != 1 || b != 3 {
		t.Errorf("refused %d malformed, %d not finite, %d bad time; want 4, 1, 3", m, n, b)
	}
}

// The gaps of the recording are kept, divided by the speed; a step back in time
// is due at once.
func TestReplaySpeed(t *testing.T) {
	const rows = "0,1\n1,2\n1.5,3\n100,4\n50,5\n52,6\n"
	for speed, want := range map[float64][]time.Duration{
		0: {0, 0, 0, 0, 0, 0},
		1: {0, 1000, 1500, 100_000, 100_000, 102_000},
		4: {0, 250, 375, 25_000, 25_000, 25_500},
	} {
		t.Run(fmt.Sprint(speed), func(t *testing.T) {
			path := file(t, "time,a\n"+rows)
			synctest.Test(t, func(t *testing.T) {
				q := sensors.NewQueue(10, 1, 1)
				w, err := q.Writer("csv", nil)
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				var end error
				go func() {
					end = source(t, csv.Options{Path: path, Speed: speed}).Run(t.Context(), w)
					q.Close()
				}()
				for _, due := range want {
					b, err := q.Take(nil)
					if err != nil {
						t.Fatal(err)
					}
					if at := time.Since(start); at != due*time.Millisecond {
						t.Errorf("row %v came after %v, want %v", b.Samples[0].Value, at, due*time.Millisecond)
					}
					b.Release()
				}
				synctest.Wait()
				if end != nil {
					t.Error(end)
				}
			})
		})
	}
}

// At full speed the detectors set the pace, and nothing is lost.
func TestReplayWaitsForTheJudge(t *testing.T) {
	var b strings.Builder
	b.WriteString("time,a\n")
	for i := range 5000 {
		fmt.Fprintf(&b, "%d,%d\n", i, i)
	}
	path := file(t, b.String())
	q := sensors.NewQueue(2, 8, 1)
	w, err := q.Writer("csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- source(t, csv.Options{Path: path}).Run(t.Context(), w) }()
	select {
	case err := <-done:
		t.Fatalf("Run returned %v although nobody judges", err)
	case <-time.After(50 * time.Millisecond):
	}
	got := sensortest.Collect(t, q)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	q.Close()
	for i, s := range got.Drain(t) {
		if s.Value != float64(i) || s.Time != int64(i)*1e9 {
			t.Fatalf("sample %d is %v", i, s)
		}
	}
	if n := w.Counters.Judged.Load(); n != 5000 {
		t.Errorf("%d judged, want 5000", n)
	}
}

func TestFollowStartsBehindTheLastCompleteLine(t *testing.T) {
	t.Parallel()
	path := file(t, header+"1,1,1\n2,2")
	r := sensortest.Start(t, source(t, csv.Options{Path: path, Follow: true}))
	time.Sleep(150 * time.Millisecond)
	write(t, path, os.O_APPEND, "0,3\n3,4,5\n4,9") // the last is not complete
	r.Wait(t, 4, 5*time.Second)
	time.Sleep(150 * time.Millisecond)
	r.Stop(t)
	r.Drain(t)
	r.Ledger(t)
	if got := r.Values("pump1.temp"); !slices.Equal(got, []float64{20, 4}) {
		t.Errorf("got %v, want [20 4]", got)
	}
}

// Every way in which a log is rotated: nothing is lost, nothing read twice.
func TestFollowRotation(t *testing.T) {
	for name, rotate := range map[string]func(t *testing.T, path string){
		"rename and create": func(t *testing.T, path string) {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			write(t, path+".1", os.O_APPEND, "3,3,3\n5,5,5") // its writer has it open a little longer, and never ends a line
			write(t, path, os.O_CREATE|os.O_EXCL, header+"4,4,4\n")
		},
		"created late": func(t *testing.T, path string) {
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(250 * time.Millisecond)
			write(t, path+".1", os.O_APPEND, "3,3,3\n")
			write(t, path, os.O_CREATE|os.O_EXCL, header)
			write(t, path, os.O_APPEND, "4,4,4\n")
		},
		"other columns": func(t *testing.T, path string) {
			write(t, path, os.O_APPEND, "3,3,3\n")
			if err := os.Rename(path, path+".1"); err != nil {
				t.Fatal(err)
			}
			write(t, path, os.O_CREATE|os.O_EXCL, "time;flow;new;temp\n4;40;7;4\n")
		},
		"truncated": func(t *testing.T, path string) {
			write(t, path, os.O_APPEND, "3,3,3\n")
			time.Sleep(250 * time.Millisecond)
			write(t, path, os.O_TRUNC, header)
			write(t, path, os.O_APPEND, "4,4,4\n")
		},
		"truncated, no header": func(t *testing.T, path string) {
			write(t, path, os.O_APPEND, "3,3,3\n")
			time.Sleep(250 * time.Millisecond)
			write(t, path, os.O_TRUNC, "")
			time.Sleep(250 * time.Millisecond)
			write(t, path, os.O_APPEND, "4,4,4\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := file(t, header)
			r := sensortest.Start(t, source(t, csv.Options{Path: path, Follow: true}))
			time.Sleep(50 * time.Millisecond)
			write(t, path, os.O_APPEND, "1,1,1\n2,2,2\n")
			r.Wait(t, 4, 5*time.Second)
			rotate(t, path)
			r.Until(5*time.Second, func() bool { return slices.Contains(r.Values("pump1.temp"), 4) })
			r.Stop(t)
			r.Drain(t)
			r.Ledger(t)
			if got := r.Values("pump1.temp"); !slices.Equal(got, []float64{1, 2, 3, 4}) {
				t.Errorf("got %v, want [1 2 3 4]; Run returned %v", got, r.Err())
			}
		})
	}
}

// A Run that ended goes on where it left, so that a restarted source neither
// loses nor repeats.
func TestFollowGoesOn(t *testing.T) {
	t.Parallel()
	path := file(t, header)
	s := source(t, csv.Options{Path: path, Follow: true})
	for i := range 3 {
		r := sensortest.Start(t, s)
		if i == 0 {
			time.Sleep(50 * time.Millisecond)
			write(t, path, os.O_APPEND, "9,9,9\n")
		}
		r.Wait(t, 2, 5*time.Second)
		r.Stop(t)
		r.Drain(t)
		if got := r.Values("pump1.temp"); len(got) != 1 || got[0] != float64(9+i) {
			t.Fatalf("run %d: %v", i, got)
		}
		write(t, path, os.O_APPEND, fmt.Sprintf("9,%d,9\n", 10+i))
	}
}

func TestErrors(t *testing.T) {
	for name, o := range map[string]csv.Options{
		"path is missing": {}, "speed": {Path: "x", Speed: -1}, "time_format": {Path: "x", TimeFormat: "YYYY"},
		`did you mean "Cel"`: {Path: "x", Columns: map[string]string{"t": "pump1.t c"}}, "channel is missing": {Path: "x", Columns: map[string]string{"t": " "}},
	} {
		if _, err := csv.New(o); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New(%+v): %v, want an error that says %q", o, err, name)
		}
	}
	for says, o := range map[string]csv.Options{
		"no such file":           {Path: "/nowhere/x.csv"},
		"not a regular file":     {Path: os.TempDir()},
		`no column "x"`:          {Path: file(t, "time,a\n1,2\n"), Columns: map[string]string{"x": "x"}},
		`two columns are called`: {Path: file(t, "time,a,a\n1,2,3\n")},
		"empty":                  {Path: file(t, "")},
	} {
		q := sensors.NewQueue(2, 8, 8)
		s := source(t, o)
		w, err := q.Writer("csv", s.Channels())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := s.Run(ctx, w); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), o.Path) {
			t.Errorf("%s: %v, want an error that says %q", o.Path, err, says)
		}
		cancel()
	}
}

// Columns beyond the street's bound are refused and counted, the others judged.
func TestTooManyColumns(t *testing.T) {
	q := sensors.NewQueue(2, 8, 1)
	w, err := q.Writer("csv", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := source(t, csv.Options{Path: file(t, header+"1,2,3\n4,5,6\n")}).Run(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	got := sensortest.Collect(t, q)
	q.Close()
	if n := len(got.Drain(t)); n != 2 || w.Counters.Refused(sensors.UnknownChannel) != 2 {
		t.Errorf("%d judged, %d refused; want 2 and 2", n, w.Counters.Refused(sensors.UnknownChannel))
	}
}

func BenchmarkReplay(b *testing.B) {
	var text strings.Builder
	text.WriteString("time,a,b,c,d,e,f,g,h\n")
	for i := range 10_000 {
		fmt.Fprintf(&text, "2026-11-23 14:55:06.%03d,0.0252,0.0405,1.5,0.055,76.2,26.3,233.1,125.0001\n", i%1000)
	}
	path := file(b, text.String())
	for b.Loop() {
		q := sensors.NewQueue(128, 256, 8)
		w, err := q.Writer("csv", nil)
		if err != nil {
			b.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				batch, err := q.Take(nil)
				if err != nil {
					return
				}
				batch.Release()
			}
		}()
		if err := source(b, csv.Options{Path: path}).Run(b.Context(), w); err != nil {
			b.Fatal(err)
		}
		q.Close()
		<-done
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/row")
}
