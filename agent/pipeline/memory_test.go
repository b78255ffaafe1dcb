package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	bbolterrors "go.etcd.io/bbolt/errors"

	"tocsin/agent/alarms"
	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/detectors/ewma"
	"tocsin/detectors/mad"
	"tocsin/sensors"
)

var quiet = slog.New(slog.DiscardHandler)

// learner makes a channel with two detectors that learn.
func learner(name string, learn int) *watch {
	l := detectors.Learning{Ready: learn, FalseAlarmRows: 20000}
	w := &watch{Watch: Watch{Channel: alarms.Channel{Channel: sensors.Channel{Name: name}},
		Detectors: []detectors.Detector{ewma.New(l), mad.New(l)}}}
	for _, d := range w.Detectors {
		w.traits = append(w.traits, d.Traits())
	}
	return w
}

func (w *watch) teach(rows int) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range rows {
		for _, d := range w.Detectors {
			d.Judge(detectors.Window{Time: int64(i) * 1e9, Arrived: int64(i) * 1e9, Value: r.NormFloat64()})
		}
	}
}

func (w *watch) learned(t *testing.T) (all []byte) {
	t.Helper()
	for _, d := range w.Detectors {
		var err error
		if all, err = d.(detectors.Learner).AppendBinary(all); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func openMemory(t *testing.T, dir string) *Memory {
	t.Helper()
	m, err := OpenMemory(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func closed(t *testing.T, m *Memory) {
	t.Helper()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatWasLearnedOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	m := openMemory(t, dir)
	a, b := learner("m.a", 300), learner("m.b", 300)
	a.teach(500)
	b.teach(700)
	if err := m.save([]*watch{a, nil, b}); err != nil {
		t.Fatal(err)
	}
	a.teach(10)
	if err := m.save([]*watch{a, nil, b}); err != nil {
		t.Fatal(err)
	}
	closed(t, m)
	m = openMemory(t, dir)
	defer closed(t, m)
	for _, was := range []*watch{a, b} {
		is := learner(was.Channel.Name, 300)
		m.load(is)
		if !bytes.Equal(is.learned(t), was.learned(t)) {
			t.Errorf("%s does not know what it knew", was.Channel.Name)
		}
	}
	fresh := learner("m.a", 400) // other settings: learned anew, and no error
	m.load(fresh)
	if !bytes.Equal(fresh.learned(t), learner("m.a", 400).learned(t)) {
		t.Error("a state of other settings was taken")
	}
}

// What was learned in one unit says nothing about readings in another.
func TestAnotherUnitIsLearnedAfresh(t *testing.T) {
	m := openMemory(t, t.TempDir())
	defer closed(t, m)
	was := learner("m.a", 300)
	was.teach(500)
	if err := m.save([]*watch{was}); err != nil {
		t.Fatal(err)
	}
	for unit, same := range map[string]bool{"": true, "Cel": false} {
		is := learner("m.a", 300)
		is.Channel.Unit = unit
		m.load(is)
		if bytes.Equal(is.learned(t), was.learned(t)) != same {
			t.Errorf("in unit %q: learned afresh %v", unit, same)
		}
	}
}

// What has learned nothing new is not written again.
func TestSaveWritesWhatChanged(t *testing.T) {
	m := openMemory(t, t.TempDir())
	defer closed(t, m)
	var all []*watch
	for i := range 40 {
		w := learner(fmt.Sprintf("m.%d", i), 300)
		w.teach(400)
		all = append(all, w)
	}
	pages := func() int64 {
		stats := m.db.Stats()
		before := stats.TxStats.GetPageCount()
		if err := m.save(all); err != nil {
			t.Fatal(err)
		}
		stats = m.db.Stats()
		return stats.TxStats.GetPageCount() - before
	}
	pages()
	none := pages()
	all[7].teach(1)
	one := pages()
	for _, w := range all {
		w.teach(2)
	}
	if every := pages(); none > 2 || one > 12 || every < 40 {
		t.Errorf("pages written for none that changed: %d, for one: %d, for all: %d", none, one, every)
	}
}

// Whatever stands in the file: who learns afresh says so, and nothing breaks.
func FuzzRecall(f *testing.F) {
	was := learner("m.a", 300)
	was.teach(400)
	good, err := was.pack()
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range [][]byte{nil, {}, good, good[:len(good)/2], {layout}, {layout, 0}, {layout, 0, 200}, {layout + 1},
		append([]byte{layout}, s2.Encode(nil, []byte{0, 1, 'x'})...), {layout, 0xff, 0xff, 0xff, 0xff, 0xf, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		var said bytes.Buffer
		is := learner("m.a", 300)
		(&Memory{log: slog.New(slog.NewTextHandler(&said, nil))}).recall(is, value)
		if bytes.Equal(value, good) != bytes.Equal(is.learned(t), was.learned(t)) {
			t.Errorf("taken for what was learned: %x", value)
		}
		if len(value) > 0 && value[0] != layout && said.Len() == 0 {
			t.Error("nothing is said of another layout")
		}
	})
}

func TestNothingIsRememberedWithoutAFile(t *testing.T) {
	var m *Memory
	w := learner("m.a", 300)
	m.load(w)
	m.saveHourly([]*watch{w})
	if err := errors.Join(m.save([]*watch{w}), m.Close()); err != nil {
		t.Error(err)
	}
}

// However a file is damaged: the start goes on, what can be had is had, and what
// is learned from then on is remembered again.
func TestDamagedMemoryIsSetAside(t *testing.T) {
	dir := t.TempDir()
	m := openMemory(t, dir)
	var all []*watch
	for i := range 40 {
		w := learner("m."+string(rune('A'+i)), 300)
		w.teach(400)
		all = append(all, w)
	}
	if err := m.save(all); err != nil {
		t.Fatal(err)
	}
	closed(t, m)
	good, err := os.ReadFile(filepath.Join(dir, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	damage := map[string]func([]byte) []byte{
		"nothing bbolt":  func([]byte) []byte { return []byte("no database at all, but long enough to be looked at") },
		"all zero":       func(b []byte) []byte { clear(b); return b },
		"both metas":     func(b []byte) []byte { clear(b[16:80]); clear(b[4096+16 : 4096+80]); return b },
		"cut to 1 page":  func(b []byte) []byte { return b[:4096] },
		"cut to 3 pages": func(b []byte) []byte { return b[:3*4096] },
		"half":           func(b []byte) []byte { return b[:len(b)/2] },
	}
	for i := range 20 {
		damage["page of noise"+strings.Repeat("!", i)] = func(b []byte) []byte {
			at := r.IntN(len(b)/4096-2)*4096 + 2*4096
			for j := range 4096 {
				b[at+j] = byte(r.Uint32())
			}
			return b
		}
	}
	for name, spoil := range damage {
		look := len(name)%2 == 0 // or find out only when saving
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "state.db"), spoil(bytes.Clone(good)), 0o600); err != nil {
				t.Fatal(err)
			}
			m := openMemory(t, dir)
			for _, w := range all {
				if look {
					m.load(learner(w.Channel.Name, 300))
				}
			}
			if err := m.save(all); err != nil {
				t.Fatal(err)
			}
			_ = m.Close() // a damaged file may not close as it should
			m = openMemory(t, dir)
			defer closed(t, m)
			for _, was := range all {
				is := learner(was.Channel.Name, 300)
				m.load(is)
				if !bytes.Equal(is.learned(t), was.learned(t)) {
					t.Fatalf("%s is not remembered after the damage", was.Channel.Name)
				}
			}
		})
	}
}

// A file that somebody else holds, or a disk that fails, says nothing about the
// file: it stays where it is.
func TestMemoryThatCannotBeHadIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	m := openMemory(t, dir)
	defer closed(t, m)
	if _, err := OpenMemory(dir, quiet); !errors.Is(err, bbolterrors.ErrTimeout) {
		t.Errorf("opened twice: %v", err)
	}
	if _, err := OpenMemory(filepath.Join(dir, "nowhere"), quiet); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("opened in no folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "state.db"+aside)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("set aside: %v", err)
	}
}

// When the clock was right last is remembered, and a clock that nobody vouches
// for is not believed.
func TestLastRightTimeIsRemembered(t *testing.T) {
	dir, right := t.TempDir(), time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	follow := func(wall time.Time, synced bool) (m *Memory, c *clock.Clock) {
		m, c = openMemory(t, dir), clock.With(clock.Options{Wall: func() time.Time { return wall }, Synced: func() bool { return synced }})
		m.Follow(c)
		return m, c
	}
	for _, run := range []struct {
		wall   time.Time
		synced bool
		tls    time.Time
	}{
		{right, true, right},
		{right.AddDate(1, 0, 0), false, right.AddDate(1, 0, 0)},
		{time.Unix(0, 0), false, right},
	} {
		m, c := follow(run.wall, run.synced)
		if got := c.TLSTime(); !got.Equal(run.tls) {
			t.Errorf("at %v certificates are judged at %v, want %v", run.wall, got, run.tls)
		}
		if err := m.save(nil); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
