package pipeline

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// Memory keeps what the detectors have learned over a restart: one bucket a
// channel, one key a detector. It is written at stop and once an hour, so that
// it costs the flash next to nothing; losing it costs only time to learn again.
// That is why a damaged file is never a reason to stop: it is set aside and a
// new one begun. A nil Memory remembers nothing.
type Memory struct {
	path  string
	db    *bbolt.DB // nil while the file cannot be had
	saved time.Time
	log   *slog.Logger
}

// aside is the ending that a damaged file gets; the newest one is kept.
const aside = ".damaged"

// OpenMemory opens state.db in dir, whose owner the caller is. A file that is
// damaged is set aside; the error of one that cannot be had, as on a disk that
// is read-only, means that nothing is remembered.
func OpenMemory(dir string, log *slog.Logger) (*Memory, error) {
	m := &Memory{path: filepath.Join(dir, "state.db"), saved: time.Now(), log: log}
	err := m.open()
	if err != nil && damaged(err) {
		err = m.setAside(err)
	}
	if err != nil {
		return nil, fmt.Errorf("open what the detectors have learned, %s: %w", m.path, err)
	}
	return m, nil
}

func (m *Memory) open() error {
	return guard(func() (err error) {
		m.db, err = bbolt.Open(m.path, 0o600, &bbolt.Options{Timeout: time.Second, PageSize: 4096, FreelistType: bbolt.FreelistMapType})
		return err
	})
}

// errFault is a damaged page that bbolt ran into.
var errFault = errors.New("the file is damaged")

// damaged tells a file of wrong bytes from one that cannot be had: not for this
// user, not now, or not on this disk.
func damaged(err error) bool {
	var system syscall.Errno
	return !errors.As(err, &system) && !errors.Is(err, bbolt.ErrTimeout) //nolint:staticcheck // the name bbolt.Open documents
}

// guard turns what a damaged page does to bbolt, a panic or a fault in the
// mapped file, into an error.
func guard(do func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errFault, p)
		}
	}()
	return do()
}

// setAside renames the file and begins a new one. The damaged one stays open if
// it ever was: bbolt may hold locks after a panic, so that closing could wait
// for ever; it goes with the process.
func (m *Memory) setAside(why error) error {
	m.db = nil
	m.log.Error("what the detectors have learned is damaged: set aside, they learn afresh", "file", m.path+aside, "error", why)
	if err := os.Rename(m.path, m.path+aside); err != nil {
		return err
	}
	return m.open()
}

// use works on the file; one that turns out to be damaged is set aside.
func (m *Memory) use(do func(*bbolt.DB) error) error {
	if m.db == nil {
		return fmt.Errorf("%s could not be begun anew", m.path)
	}
	err := guard(func() error { return do(m.db) })
	if !errors.Is(err, errFault) {
		return err
	}
	return errors.Join(err, m.setAside(err))
}

// Close closes the file.
func (m *Memory) Close() error {
	if m == nil || m.db == nil {
		return nil
	}
	return guard(m.db.Close)
}

// load gives a channel's detectors what they had learned. Bytes that a detector
// refuses, because its settings or its version changed, are left alone.
func (m *Memory) load(w *watch) {
	if m == nil || m.db == nil {
		return
	}
	err := m.use(func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket([]byte(w.Channel.Name)); b != nil {
				m.recall(w, b)
			}
			return nil
		})
	})
	if err != nil {
		m.log.Error("detectors learn afresh", "channel", w.Channel.Name, "error", err)
	}
}

func (m *Memory) recall(w *watch, b *bbolt.Bucket) {
	for i, d := range w.Detectors {
		state := b.Get([]byte(w.traits[i].Name))
		if l, ok := d.(detectors.Learner); ok && state != nil {
			if err := l.UnmarshalBinary(append([]byte(nil), state...)); err != nil {
				m.log.Info("detector learns afresh", "channel", w.Channel.Name, "detector", w.traits[i].Name, "because", err)
			}
		}
	}
}

func (m *Memory) saveHourly(watches []*watch) {
	if m == nil || time.Since(m.saved) < time.Hour {
		return
	}
	if err := m.save(watches); err != nil {
		m.log.Error("what the detectors have learned is not saved, tried again in an hour", "error", err)
	}
}

// save writes what every detector has learned in one transaction.
func (m *Memory) save(watches []*watch) error {
	if m == nil || m.db == nil {
		return nil // said when it was opened
	}
	m.saved = time.Now()
	write := func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			for _, w := range watches {
				if w == nil {
					continue
				}
				if err := w.save(tx); err != nil {
					return fmt.Errorf("%s: %w", w.Channel.Name, err)
				}
			}
			return nil
		})
	}
	err := m.use(write)
	if errors.Is(err, errFault) && m.db != nil {
		err = m.use(write) // into the new file
	}
	if err != nil {
		return fmt.Errorf("save what the detectors have learned: %w", err)
	}
	return nil
}

func (w *watch) save(tx *bbolt.Tx) error {
	b, err := tx.CreateBucketIfNotExists([]byte(w.Channel.Name))
	if err != nil {
		return err
	}
	for i, d := range w.Detectors {
		l, ok := d.(detectors.Learner)
		if !ok {
			continue
		}
		state, err := l.AppendBinary(nil)
		if err != nil {
			return err
		}
		if err := b.Put([]byte(w.traits[i].Name), state); err != nil {
			return err
		}
	}
	return nil
}
