package spool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrInUse says that another process has the folder.
var ErrInUse = errors.New("in use")

const lockWait = time.Second // for an agent that is just ending

// lockDir holds the folder for this process until the file is closed or the
// process ends, however it ends. The file says who, for people.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the buffer: %w", err)
	}
	for deadline := time.Now().Add(lockWait); ; time.Sleep(lockWait / 20) {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if time.Now().After(deadline) || !errors.Is(err, syscall.EWOULDBLOCK) {
			defer f.Close()
			return nil, held(f, dir, err)
		}
	}
	// Who holds it is a courtesy: a full disk must not stop the start.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return f, nil
}

func held(f *os.File, dir string, err error) error {
	if !errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("lock the buffer in %s: %w", dir, err)
	}
	who := "another process"
	text, _ := io.ReadAll(io.LimitReader(f, 20))
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		who = fmt.Sprintf("process %d", pid)
	}
	return fmt.Errorf("open the buffer in %s: %w by %s: ask the running agent (tocsin spool status), or stop it first", dir, ErrInUse, who)
}
