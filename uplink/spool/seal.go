package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/zstd"
)

// Whatever is stored is sealed: one byte that says how, a CRC-32C over the place
// it belongs to and all that follows it, then the bytes, compressed where that
// makes them shorter. The place is part of the check, so a value that a failing
// card gives back from somewhere else is noticed. Encryption, when it comes,
// takes the CRC's part, with the place as its additional data.
const (
	sealedPlain = 0x10 // format 1, as it was
	sealedZstd  = 0x11 // format 1, Zstandard
	sealHead    = 1 + crc32.Size

	maxUnsealed   = 32 << 20 // bytes; far above any block, far below what hurts
	minCompressed = 512      // bytes; shorter ones gain nothing and cost 8 µs
)

// errDamaged is found below every error about stored bytes that cannot be true.
var errDamaged = errors.New("damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sealer compresses with Zstandard's fastest level: of blocks of 100 to 1,000
// events it leaves 30 bytes an event, S2 leaves 50 to 60, for 0.4 µs more; the
// flash and the length of an outage that fits are worth that.
type sealer struct {
	pack   *zstd.Encoder
	unpack *zstd.Decoder
}

func newSealer() (*sealer, error) {
	pack, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(maxBodies), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, err
	}
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxMemory(maxUnsealed))
	return &sealer{pack, unpack}, err
}

// seal returns raw as it is stored at place. The result shares nothing with raw.
func (s *sealer) seal(place string, raw []byte) []byte {
	sealed := make([]byte, sealHead, sealHead+max(len(raw)/4, minCompressed))
	sealed[0] = sealedPlain
	if len(raw) >= minCompressed {
		if packed := s.pack.EncodeAll(raw, sealed); len(packed) < sealHead+len(raw) {
			sealed = packed
			sealed[0] = sealedZstd
		}
	}
	if sealed[0] == sealedPlain {
		sealed = append(sealed[:sealHead], raw...)
	}
	binary.LittleEndian.PutUint32(sealed[1:], checksum(place, sealed))
	return sealed
}

// unseal is seal's inverse. The result shares nothing with sealed, which may be
// mapped from a file.
func (s *sealer) unseal(place string, sealed []byte) ([]byte, error) {
	if len(sealed) < sealHead || binary.LittleEndian.Uint32(sealed[1:]) != checksum(place, sealed) {
		return nil, fmt.Errorf("%w: the checksum of %d bytes at %q is wrong", errDamaged, len(sealed), place)
	}
	packed := sealed[sealHead:]
	switch sealed[0] {
	case sealedPlain:
		return append([]byte{}, packed...), nil
	case sealedZstd:
		raw, err := s.unpack.DecodeAll(packed, []byte{})
		if err != nil {
			return nil, fmt.Errorf("%w: unpack %q: %w", errDamaged, place, err)
		}
		return raw, nil
	}
	return nil, fmt.Errorf("%q is sealed in the way 0x%02x that this version does not know: use the newer agent that wrote it", place, sealed[0])
}

func checksum(place string, sealed []byte) uint32 {
	sum := crc32.Update(0, castagnoli, []byte(place))
	sum = crc32.Update(sum, castagnoli, sealed[:1])
	return crc32.Update(sum, castagnoli, sealed[sealHead:])
}
