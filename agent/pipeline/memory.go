package pipeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"tocsin/agent/clock"
)

// Memory keeps what the detectors have learned over a restart: one value a
// channel. It is written at stop and once an hour, so that
// it costs the flash next to nothing; losing it costs only time to learn again.
// That is why a damaged file is never a reason to stop: it is set aside and a
// new one begun. A nil Memory remembers nothing.
type Memory struct {
	path  string
	db    *bbolt.DB // nil while the file cannot be had
	saved time.Time
	clock *clock.Clock // nil: its time is not remembered
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

// The buckets of the file: learned has one value a channel, see pack; clockBucket
// one, under its own name, the last time at which the clock was known to be right:
// ns since 1970 UTC, little endian.
var learned, clockBucket = []byte("learned"), []byte("clock")

// Follow tells the clock the last time at which an earlier run knew it to be
// right, and remembers such times from now on.
func (m *Memory) Follow(c *clock.Clock) {
	if m == nil || m.db == nil {
		return
	}
	m.clock = c
	err := m.use(func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(clockBucket); b != nil {
				if v := b.Get(clockBucket); len(v) == 8 {
					c.Remember(time.Unix(0, int64(binary.LittleEndian.Uint64(v))))
				}
			}
			return nil
		})
	})
	if err != nil {
		m.log.Error("when the clock was right last is not known", "error", err)
	}
}

func (m *Memory) saveClock(tx *bbolt.Tx) error {
	if m.clock == nil {
		return nil
	}
	now, vouched := m.clock.Vouched()
	if !vouched {
		return nil
	}
	b, err := tx.CreateBucketIfNotExists(clockBucket)
	if err != nil {
		return err
	}
	return b.Put(clockBucket, binary.LittleEndian.AppendUint64(nil, uint64(now.UnixNano())))
}

// load gives a channel's detectors what they had learned. Bytes that a detector
// refuses, because its settings or its version changed, are left alone.
func (m *Memory) load(w *watch) {
	if m == nil || m.db == nil {
		return
	}
	err := m.use(func(db *bbolt.DB) error {
		return db.View(func(tx *bbolt.Tx) error {
			if b := tx.Bucket(learned); b != nil {
				m.recall(w, b.Get([]byte(w.Channel.Name)))
			}
			return nil
		})
	})
	if err != nil {
		m.log.Error("detectors learn afresh", "channel", w.Channel.Name, "error", err)
	}
}

func (m *Memory) saveHourly(watches []*watch) {
	if m == nil || time.Since(m.saved) < time.Hour {
		return
	}
	m.saved = time.Now()
	if err := m.save(watches); err != nil {
		m.log.Error("what the detectors have learned is not saved, tried again in an hour", "error", err)
	}
}

// save writes what every detector has learned in one transaction.
func (m *Memory) save(watches []*watch) error {
	if m == nil || m.db == nil {
		return nil // said when it was opened
	}
	write := func(db *bbolt.DB) error {
		return db.Update(func(tx *bbolt.Tx) error {
			if err := m.saveClock(tx); err != nil {
				return err
			}
			return saveAll(tx, watches)
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
