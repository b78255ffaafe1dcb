package detectors_test

import (
	"encoding/binary"
	"hash/crc32"
	"hash/fnv"
	"math"
	"testing"

	"tocsin/detectors"
	"tocsin/detectors/detectortest"
)

// drawn is noise made of integers alone: the same on every architecture.
func drawn(n int) []float64 {
	state, values := uint64(88172645463325252), make([]float64, n)
	for i := range values {
		sum := int64(0)
		for range 12 { // Irwin-Hall: all but Gaussian
			state ^= state << 13 // xorshift, Marsaglia 2003
			state ^= state >> 7
			state ^= state << 17
			sum += int64(state >> 44)
		}
		values[i] = float64(sum-6<<20) / (1 << 20)
		if i%700 == 699 {
			values[i] *= 8
		}
		if i > n*3/4 {
			values[i] += 4
		}
	}
	return values
}

// Scores, bounds and states have the same bits on every architecture: what alarmed at
// one gateway alarms at another, and in tocsin score on the bench.
func TestBitsAreTheSameEverywhere(t *testing.T) {
	type golden struct{ verdicts, state uint64 }
	want := map[string]golden{
		"ewma":     {0x8b1a0eb8e210238c, 0xdfab52e8a0744fa8},
		"robust_z": {0x86f7a41e5f03f1c2, 0x9993b2899c5efe6f},
		"cusum":    {0x1904cea47af61b42, 0xd12faa4c350f6f1c},
		"rate":     {0x76cf54c37371fbf4, 0x15d701d5238f2b65},
		"stuck":    {0xbce3e6b305dceb25, 0xb064cf8d0d8cd6f1},
	}
	values := drawn(20_000)
	for name, want := range want {
		d, h, s := set(defaults)[name], fnv.New64a(), fnv.New64a()
		for i, x := range values {
			if i == 18_000 {
				d.Freeze()
			}
			v := d.Judge(detectortest.At(i, x))
			for _, f := range []float64{v.Score, v.Low, v.High} {
				h.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(f)))
			}
		}
		state, err := d.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(state)
		if got := (golden{h.Sum64(), s.Sum64()}); got != want {
			t.Errorf("%q: {0x%016x, 0x%016x}, want {0x%016x, 0x%016x}", name, got.verdicts, got.state, want.verdicts, want.state)
		}
	}
}

// FuzzState loads bytes of anyone's making, and bytes with a right checksum:
// they are refused, or leave a detector that keeps the contract.
func FuzzState(f *testing.F) {
	for _, d := range set(defaults) {
		for i, x := range drawn(400) {
			d.Judge(detectortest.At(i, x))
		}
		state, err := d.AppendBinary(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(state)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if n := len(data) - 4; n > 8 {
			sealed := append([]byte(nil), data...)
			binary.LittleEndian.PutUint32(sealed[n:], crc32.ChecksumIEEE(sealed[:n]))
			data = sealed
		}
		for name, d := range set(defaults) {
			own, err := d.AppendBinary(nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(data) > 12 { // past the fingerprint, so that the parts are reached
				copy(data, own[:8])
				n := len(data) - 4
				binary.LittleEndian.PutUint32(data[n:], crc32.ChecksumIEEE(data[:n]))
			}
			if err := d.UnmarshalBinary(data); err != nil {
				continue
			}
			for i, w := range detectortest.Hostile()[:300] {
				if wrong := detectortest.Check(d.Judge(w)); wrong != "" {
					t.Fatalf("%s, reading %d: %s", name, i, wrong)
				}
			}
			if ticker, ok := d.(detectors.Ticker); ok {
				if wrong := detectortest.Check(ticker.Tick(1 << 40)); wrong != "" {
					t.Fatalf("%s: %s", name, wrong)
				}
			}
		}
	})
}
