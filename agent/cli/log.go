package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
)

// newLog writes to a terminal or a file with times. The journal of systemd has
// the time already and wants the priority as <n> before the line (sd-daemon(3)).
func newLog(to io.Writer) *slog.Logger {
	if !isJournal(to) {
		return slog.New(slog.NewTextHandler(to, nil))
	}
	line := &journalLine{to: to}
	return slog.New(journal{line, slog.NewTextHandler(&line.buf, &slog.HandlerOptions{ReplaceAttr: withoutTime})})
}

// isJournal reports whether to is the stream that JOURNAL_STREAM names by device
// and inode (systemd.exec(5)): a program started by a service inherits the
// variable also where its output goes elsewhere.
func isJournal(to io.Writer) bool {
	f, ok := to.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil {
		return false
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", s.Dev, s.Ino)
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
		return slog.Attr{}
	}
	return a
}

// journalLine is the one line being written, shared by all handlers of a log.
type journalLine struct {
	mu  sync.Mutex
	buf bytes.Buffer
	to  io.Writer
}

// journal puts the priority before each line.
type journal struct {
	line *journalLine
	text slog.Handler
}

func (j journal) Enabled(ctx context.Context, l slog.Level) bool { return j.text.Enabled(ctx, l) }
func (j journal) WithAttrs(a []slog.Attr) slog.Handler           { return journal{j.line, j.text.WithAttrs(a)} }
func (j journal) WithGroup(name string) slog.Handler             { return journal{j.line, j.text.WithGroup(name)} }

func (j journal) Handle(ctx context.Context, r slog.Record) error {
	j.line.mu.Lock()
	defer j.line.mu.Unlock()
	j.line.buf.Reset()
	j.line.buf.WriteString(priority(r.Level))
	if err := j.text.Handle(ctx, r); err != nil {
		return err
	}
	_, err := j.line.to.Write(j.line.buf.Bytes())
	return err
}

func priority(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return "<3>"
	case l >= slog.LevelWarn:
		return "<4>"
	case l >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}
