package pipeline

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// layout is the version of what pack writes; others are not read.
const layout = 1

// pack is what the file keeps of a channel: layout, then what its readings
// measure and of each detector that learns its name and its state, each with its
// length before it. A detector checks its own state.
func (w *watch) pack() ([]byte, error) {
	value := appendPacked([]byte{layout}, []byte(w.Channel.Measure()))
	for i, d := range w.Detectors {
		l, learns := d.(detectors.Learner)
		if !learns {
			continue
		}
		state, err := l.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		value = appendPacked(appendPacked(value, []byte(w.traits[i].Name)), state)
	}
	return value, nil
}

func appendPacked(to, part []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(part))), part...)
}

// unpack takes the first part off what appendPacked has written.
func unpack(value []byte) (part, rest []byte, ok bool) {
	n, head := binary.Uvarint(value)
	if head <= 0 || n > uint64(len(value)-head) {
		return nil, nil, false
	}
	value = value[head:]
	return value[:n], value[n:], true
}

// full is how much of a page is filled: values hardly change their size.
const full = 0.9

// saveAll writes what differs from what is there.
func saveAll(tx *bbolt.Tx, watches []*watch) error {
	b, err := tx.CreateBucketIfNotExists(learned)
	if err != nil {
		return err
	}
	b.FillPercent = full
	for _, w := range watches {
		if w == nil {
			continue
		}
		name := []byte(w.Channel.Name)
		value, err := w.pack()
		if err == nil && !bytes.Equal(value, b.Get(name)) {
			err = b.Put(name, value)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// recall gives the detectors what pack has written; an empty value is nothing.
func (m *Memory) recall(w *watch, value []byte) {
	if len(value) == 0 {
		return
	}
	afresh := func(why any) {
		m.log.Info("detectors learn afresh", "channel", w.Channel.Name, "because", why)
	}
	if value[0] != layout {
		afresh(fmt.Sprintf("version %d is not known", value[0]))
		return
	}
	measure, rest, ok := unpack(value[1:])
	if is := w.Channel.Measure(); ok && string(measure) != is {
		afresh(fmt.Sprintf("they learned in %q, and readings are in %q", measure, is))
		return
	}
	for ok && len(rest) > 0 {
		var name, state []byte
		name, rest, _ = unpack(rest)
		if state, rest, ok = unpack(rest); ok {
			m.teach(w, string(name), state)
		}
	}
	if !ok {
		afresh("what they learned is cut short")
	}
}

func (m *Memory) teach(w *watch, name string, state []byte) {
	for i, d := range w.Detectors {
		l, learns := d.(detectors.Learner)
		if !learns || w.traits[i].Name != name {
			continue
		}
		if err := l.UnmarshalBinary(bytes.Clone(state)); err != nil {
			m.log.Info("detector learns afresh", "channel", w.Channel.Name, "detector", name, "because", err)
		}
	}
}
