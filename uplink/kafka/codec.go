package kafka

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// codec is how a batch is compressed, numbered as in a batch's attributes.
type codec uint16

const (
	none codec = iota
	gzipped
	snappied
	lz4ed
	zstded
)

var codecNames = []string{"none", "gzip", "snappy", "lz4", "zstd"}

// codecNamed is the inverse of codecNames; "" is zstd.
func codecNamed(name string) (codec, error) {
	if name == "" {
		return zstded, nil
	}
	if i := slices.Index(codecNames, name); i >= 0 {
		return codec(i), nil
	}
	return none, fmt.Errorf("kafka: codec %q is none of %v", name, codecNames)
}

// packer compresses. It keeps the state of the codec it was last used for,
// which is large, and is for one goroutine.
type packer struct {
	sink bytes.Buffer
	gzip *gzip.Writer
	lz4  *lz4.Writer
	zstd *zstd.Encoder
}

// pack appends raw, compressed, to out. The settings are chosen for a gateway:
// little memory, one core, the codecs' fastest levels.
func (p *packer) pack(c codec, out, raw []byte) ([]byte, error) {
	switch c {
	case snappied:
		// One raw block, as librdkafka and franz-go send it; Java reads it too.
		n := len(out)
		out = slices.Grow(out, snappy.MaxEncodedLen(len(raw)))
		packed := snappy.Encode(out[n:cap(out)], raw)
		return out[:n+len(packed)], nil
	case zstded:
		if p.zstd == nil {
			var err error
			if p.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest),
				zstd.WithEncoderConcurrency(1), zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(1<<20)); err != nil {
				return out, err
			}
		}
		return p.zstd.EncodeAll(raw, out), nil
	case gzipped:
		p.sink.Reset()
		if p.gzip == nil {
			p.gzip, _ = gzip.NewWriterLevel(&p.sink, gzip.BestSpeed) // fails for an unknown level only
		}
		p.gzip.Reset(&p.sink)
		return p.drain(out, raw, p.gzip)
	case lz4ed:
		p.sink.Reset()
		if p.lz4 == nil {
			p.lz4 = lz4.NewWriter(&p.sink)
			if err := p.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb)); err != nil {
				return out, err
			}
		}
		p.lz4.Reset(&p.sink)
		return p.drain(out, raw, p.lz4)
	}
	return append(out, raw...), nil
}

// writeCloser is io.WriteCloser, satisfied by both stream codecs.
type writeCloser interface {
	Write([]byte) (int, error)
	Close() error
}

func (p *packer) drain(out, raw []byte, w writeCloser) ([]byte, error) {
	if _, err := w.Write(raw); err != nil {
		return out, err
	}
	if err := w.Close(); err != nil {
		return out, err
	}
	return append(out, p.sink.Bytes()...), nil
}
