package pipeline

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/s2"
	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

const (
	// layout is the version of what pack writes; others are not read.
	layout = 1
	// mostLearned bounds what is unpacked of one channel, in bytes; 8,000 are usual.
	mostLearned = 1 << 20
)

// pack is what the file keeps of a channel: layout, then in one S2 block, which
// leaves two fifths of it, what the readings measure and of each detector that
// learns its name and its state, each with its length before it. A detector
// checks its own state.
func (w *watch) pack() ([]byte, error) {
	parts := appendPart(nil, w.Channel.Measure())
	for i, d := range w.Detectors {
		l, learns := d.(detectors.Learner)
		if !learns {
			continue
		}
		state, err := l.AppendBinary(nil)
		if err != nil {
			return nil, err
		}
		parts = appendPart(appendPart(parts, w.traits[i].Name), state)
	}
	return append([]byte{layout}, s2.Encode(nil, parts)...), nil
}

func appendPart[T string | []byte](to []byte, part T) []byte {
	return append(binary.AppendUvarint(to, uint64(len(part))), part...)
}

// unpack is the parts that pack has written behind the layout.
func unpack(block []byte) (parts [][]byte, ok bool) {
	if n, err := s2.DecodedLen(block); err != nil || n > mostLearned {
		return nil, false
	}
	rest, err := s2.Decode(nil, block)
	for ok = err == nil; ok && len(rest) > 0; {
		n, head := binary.Uvarint(rest)
		if ok = head > 0 && n <= uint64(len(rest)-head); ok {
			rest = rest[head:]
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
	}
	return parts, ok && len(parts)%2 == 1
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
	parts, ok := unpack(value[1:])
	if !ok {
		afresh("what they had learned is damaged")
		return
	}
	if is := w.Channel.Measure(); string(parts[0]) != is {
		afresh(fmt.Sprintf("they learned in %q, and readings are in %q", parts[0], is))
		return
	}
	for i := 1; i < len(parts); i += 2 {
		m.teach(w, string(parts[i]), parts[i+1])
	}
}

func (m *Memory) teach(w *watch, name string, state []byte) {
	for i, d := range w.Detectors {
		l, learns := d.(detectors.Learner)
		if !learns || w.traits[i].Name != name {
			continue
		}
		if err := l.UnmarshalBinary(state); err != nil {
			m.log.Info("detector learns afresh", "channel", w.Channel.Name, "detector", name, "because", err)
		}
	}
}
