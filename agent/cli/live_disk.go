package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// tryDisk writes beside the buffer as a commit would, and takes it away again.
func (s *site) tryDisk(context.Context) []answer {
	dir, what := s.cfg.Spool.Dir, "disk "+beside(s.cfg, s.cfg.Spool.Dir)
	if err := checkSpoolDir(s.cfg); err != nil {
		return []answer{failure(what, 0, err)}
	}
	at, made := nearestFolder(dir)
	took, err := syncTime(at)
	if err != nil {
		a := answer{mark: wrong, what: what, said: "nothing can be written in " + at + ": " + err.Error(), cure: "set [spool] dir to a folder on a disk that takes files"}
		if errors.Is(err, fs.ErrPermission) {
			a.cure = "let the user that runs tocsin write there, or run this check as that user: sudo -u tocsin tocsin check --live …"
		}
		return []answer{a}
	}
	free, err := freeBytes(at)
	if err != nil {
		return []answer{failure(what, took, err)}
	}
	a := answer{mark: good, what: what, said: volume(float64(free)) + " free, a write is safe after " + short(took)}
	if !made {
		a.said = "will be made in " + at + ": " + a.said
	}
	switch need := int64(s.cfg.Spool.MaxSize) + diskReserve - folderBytes(filepath.Join(dir, "spool")); {
	case free < need:
		a.mark, a.cure = odd, fmt.Sprintf("max_size = %q may take %s more: make room or lower it, or events are dropped before the buffer is full", s.cfg.Spool.MaxSize, volume(float64(need)))
	case took > time.Duration(s.cfg.Spool.Commit):
		a.mark, a.cure = odd, fmt.Sprintf("a write takes longer than commit = %q: raise commit, or use a faster disk", s.cfg.Spool.Commit)
	}
	return []answer{a}
}

// nearestFolder is the folder, or the next above it that is there already.
func nearestFolder(dir string) (at string, itself bool) {
	for at = dir; ; at = filepath.Dir(at) {
		if info, err := os.Stat(at); err == nil && info.IsDir() || at == filepath.Dir(at) {
			return at, at == dir
		}
	}
}

// syncTime is the median of five small writes that are on the disk when they
// return. The error does not name the file, which is nobody's.
func syncTime(dir string) (time.Duration, error) {
	took, err := syncTimes(dir)
	var named *fs.PathError
	if errors.As(err, &named) {
		err = named.Err
	}
	if err != nil {
		return 0, err
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

func syncTimes(dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".tocsin-check-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) // nothing depends on it
	defer f.Close()
	page := make([]byte, 4096)
	for i := range 5 {
		began := time.Now()
		if _, err := f.WriteAt(page, int64(i*len(page))); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	return took, nil
}

// freeBytes is what this user may still write.
func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, fmt.Errorf("ask for the free space of %s: %w", dir, err)
	}
	return int64(s.Bavail) * int64(s.Bsize), nil //nolint:unconvert // 32 bits on some machines
}

func folderBytes(dir string) (n int64) {
	entries, _ := os.ReadDir(dir) // not there yet: empty
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
