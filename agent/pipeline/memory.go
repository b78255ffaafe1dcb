package pipeline

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// Memory keeps what the detectors have learned over a restart: one bucket a
// channel, one key a detector. It is written at stop and once an hour, so that
// it costs the flash next to nothing; losing it costs only time to learn again.
// A nil Memory remembers nothing.
type Memory struct {
	db    *bbolt.DB
	saved time.Time
}

// OpenMemory opens state.db in dir, whose owner the caller is. A file that
// cannot be read is set aside: the detectors then learn afresh.
func OpenMemory(dir string) (*Memory, error) {
	path := filepath.Join(dir, "state.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, PageSize: 4096, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, fmt.Errorf("open what the detectors have learned, %s: %w; delete the file to let them learn afresh", path, err)
	}
	return &Memory{db: db, saved: time.Now()}, nil
}

// Close closes the file.
func (m *Memory) Close() error {
	if m == nil {
		return nil
	}
	return m.db.Close()
}

// load gives a channel's detectors what they had learned. Bytes that a detector
// refuses, because its settings or its version changed, are left alone.
func (m *Memory) load(w *watch, log *slog.Logger) {
	if m == nil {
		return
	}
	err := m.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte(w.Channel.Name))
		if b == nil {
			return nil
		}
		for i, d := range w.Detectors {
			state := b.Get([]byte(w.traits[i].Name))
			if l, ok := d.(detectors.Learner); ok && state != nil {
				if err := l.UnmarshalBinary(append([]byte(nil), state...)); err != nil {
					log.Info("detector learns afresh", "channel", w.Channel.Name, "detector", w.traits[i].Name, "because", err)
				}
			}
		}
		return nil
	})
	if err != nil {
		log.Error("detectors learn afresh", "channel", w.Channel.Name, "error", err)
	}
}

func (m *Memory) saveHourly(watches []*watch) {
	if m != nil && time.Since(m.saved) >= time.Hour {
		_ = m.save(watches) // tried again in an hour, and at stop, where it is logged
	}
}

// save writes what every detector has learned in one transaction.
func (m *Memory) save(watches []*watch) error {
	if m == nil {
		return nil
	}
	m.saved = time.Now()
	err := m.db.Update(func(tx *bbolt.Tx) error {
		for _, w := range watches {
			if w == nil {
				continue
			}
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
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("save what the detectors have learned: %w", err)
	}
	return nil
}
