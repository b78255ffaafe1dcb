package csv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"tocsin/sensors"
)

// look is how often a followed file is looked at when it has nothing new. Files
// on a network share tell nobody that they grew, so asking is the one way that
// always works; it costs 20 system calls a second.
const look = 100 * time.Millisecond

// place is how far a followed file was read.
type place struct {
	begun  bool        // Run has looked before: a file that is new now is new from its first line
	file   fs.FileInfo // nil: none was read yet
	offset int64       // of the next unread line
}

// follow reads what is appended, from one file to the next that takes its name.
func (s *Source) follow(ctx context.Context, out *sensors.Writer) error {
	if s.rows == nil {
		s.rows = newReader(nil, s.clock)
		s.rows.numeric = s.wanted != nil
	}
	p := &pass{Source: s, out: out, rows: s.rows}
	for {
		f, err := open(s.o.Path)
		if err != nil {
			s.place.begun = true
			return err
		}
		err = s.followOne(ctx, p, f)
		f.Close() // only read
		if err != nil {
			return err
		}
	}
}

// followOne reads f until another file has its name or it is begun anew.
func (s *Source) followOne(ctx context.Context, p *pass, f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	offset, err := s.enter(f, info)
	if err != nil {
		return err
	}
	t := &tail{ctx: ctx, path: s.o.Path, file: f, info: info, offset: offset}
	if offset > 0 {
		p.rows.goOn(io.NewSectionReader(f, 0, offset), 0)
		if err := p.rows.readHeader(); err != nil {
			return err
		}
		p.rows.held = nil
		p.rows.goOn(t, offset)
	} else {
		p.rows.goOn(t, 0)
		if err := p.rows.readHeader(); err != nil {
			return endOfHeader(err, t)
		}
	}
	p.ids = nil
	p.done = func() { s.place.offset = p.rows.offset }
	p.done()
	if err := p.run(ctx); err != nil {
		return err
	}
	s.place.offset = 0 // of what comes now, be it in the same file
	return nil
}

// endOfHeader forgives a file that was replaced before its header was complete.
func endOfHeader(err error, t *tail) error {
	if t.over && t.offset == 0 {
		return nil
	}
	return err
}

// enter finds where reading begins: where the last Run left the same file, at
// the start of a new one, or, when the agent has just started, behind the last
// complete line.
func (s *Source) enter(f *os.File, info fs.FileInfo) (int64, error) {
	was := s.place
	s.place = place{begun: true, file: info}
	switch {
	case was.file != nil && os.SameFile(was.file, info) && was.offset <= info.Size():
		return was.offset, s.seek(f, was.offset)
	case was.begun:
		return 0, nil
	}
	end := info.Size()
	last := make([]byte, min(end, longestLine))
	if _, err := f.ReadAt(last, end-int64(len(last))); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	offset := end - int64(len(last)) + int64(bytes.LastIndexByte(last, '\n')) + 1
	return offset, s.seek(f, offset)
}

func (s *Source) seek(f *os.File, offset int64) error {
	s.place.offset = offset
	_, err := f.Seek(offset, io.SeekStart)
	return err
}

// tail is an io.Reader that waits at the end of a file for more. It ends when
// the file is truncated, or when its name belongs to another file and its
// writer has had time to finish.
type tail struct {
	ctx    context.Context // of Run; a Reader has no other way to be stopped
	path   string
	file   *os.File
	info   fs.FileInfo
	offset int64
	over   bool // another file has the name
}

func (t *tail) Read(p []byte) (int, error) {
	for {
		n, err := t.file.Read(p)
		t.offset += int64(n)
		if n > 0 {
			return n, t.ctx.Err()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if t.over {
			return 0, io.EOF
		}
		now, err := t.file.Stat()
		if err != nil {
			return 0, err
		}
		if now.Size() < t.offset { // copied and truncated
			t.over = true
			return 0, io.EOF
		}
		// A name that is gone comes back: the old file is read until it does.
		if named, err := os.Stat(t.path); err == nil && !os.SameFile(named, t.info) {
			t.over = true
		}
		select {
		case <-t.ctx.Done():
			return 0, t.ctx.Err()
		case <-time.After(look):
		}
	}
}
