package detectors

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"math"
	"reflect"
)

// ErrForeignState is what UnmarshalBinary wraps when bytes are not a state of
// this detector with these settings.
var ErrForeignState = errors.New("the learned state is of another version or of other settings, or is damaged; the channel is learned anew")

const stateVersion = 2

// A State is what of a detector outlives a restart: its method, the settings it
// was learned with, and pointers to structs of fixed size, or to Counts and what
// else writes itself.
type State struct {
	Method   string
	Settings []any
	Parts    []any
}

// Append appends the parts behind a fingerprint of method, settings and version
// and before a checksum. It is not for the hot path.
func (s State) Append(b []byte) ([]byte, error) {
	from := len(b)
	b = binary.LittleEndian.AppendUint64(b, s.fingerprint())
	for _, part := range s.Parts {
		var err error
		if p, ok := part.(codec); ok {
			b, err = p.appendTo(b)
		} else {
			b, err = binary.Append(b, binary.LittleEndian, part)
		}
		if err != nil {
			return b[:from], fmt.Errorf("store the learned state of %s: %w", s.Method, err)
		}
	}
	return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b[from:])), nil
}

// codec is a part that has no fixed size.
type codec interface {
	appendTo(b []byte) ([]byte, error)
	// loadFrom reads what appendTo wrote, into memory that nothing else holds, and
	// checks that it can be; rest is what follows.
	loadFrom(data []byte) (rest []byte, ok bool)
}

// A Part of a State may say whether what was loaded into it can be: bytes may
// have a right checksum and still be of nobody's making.
type Part interface{ Sound() bool }

// Load fills the parts with what Append wrote. After an error the parts are not
// to be used: load into copies.
func (s State) Load(data []byte) error {
	n := len(data) - 4
	if n < 8 || binary.LittleEndian.Uint32(data[n:]) != crc32.ChecksumIEEE(data[:n]) ||
		binary.LittleEndian.Uint64(data) != s.fingerprint() {
		return fmt.Errorf("load the learned state of %s: %w", s.Method, ErrForeignState)
	}
	data = data[8:n]
	for _, part := range s.Parts {
		rest, ok := load(data, part)
		if !ok {
			return fmt.Errorf("load the learned state of %s: %w", s.Method, ErrForeignState)
		}
		data = rest
	}
	if len(data) != 0 {
		return fmt.Errorf("load the learned state of %s: %w", s.Method, ErrForeignState)
	}
	return nil
}

func load(data []byte, part any) (rest []byte, ok bool) {
	if p, ok := part.(codec); ok {
		return p.loadFrom(data)
	}
	read, err := binary.Decode(data, binary.LittleEndian, part)
	if p, ok := part.(Part); err != nil || !finite(reflect.ValueOf(part).Elem()) || ok && !p.Sound() {
		return nil, false
	}
	return data[read:], true
}

func (s State) fingerprint() uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d\x00%s\x00", stateVersion, s.Method)
	for _, x := range s.Settings {
		fmt.Fprintf(h, "%v\x00", x)
	}
	return h.Sum64()
}

// finite reports whether no number in v is NaN or infinite, so that no later
// judgement can be.
func finite(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return !math.IsNaN(v.Float()) && !math.IsInf(v.Float(), 0)
	case reflect.Struct:
		for i := range v.NumField() {
			if !finite(v.Field(i)) {
				return false
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			if !finite(v.Index(i)) {
				return false
			}
		}
	}
	return true
}

// Within reports whether all of xs lie in [low, high].
func Within(low, high float64, xs ...float64) bool {
	for _, x := range xs {
		if !(low <= x && x <= high) {
			return false
		}
	}
	return true
}
