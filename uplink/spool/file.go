package spool

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"go.etcd.io/bbolt"

	"tocsin/detectors"
)

// file is one bbolt file of the ring. Only the newest, the head, is written:
// it also holds all that changes about the others, so that one transaction in
// one file changes everything together. An older file is opened when something
// is read from it and unlinked when nothing in it is queued any more.
type file struct {
	number  uint64
	shelves [detectors.Critical + 1]shelf // by severity
	filed   int64                         // records queued in it when it ceased to be the head
	bytes   int64                         // used of it, from its start

	db   *bbolt.DB // nil while closed
	tx   *bbolt.Tx // of an older file: the one it is read with
	dirt bool      // the disk does not have its shelves so yet
}

// shelf is what of one severity lies in a file.
type shelf struct {
	live  int64  // records that are queued or in flight
	first uint64 // the first block that may hold a live record: its first sequence
	last  uint64 // the last block
}

func (f *file) live() (n int64) {
	for _, s := range f.shelves {
		n += s.live
	}
	return n
}

// share is how much of the file is still needed, roughly.
func (f *file) share() float64 { return float64(f.live()) / float64(max(f.filed, 1)) }

func (f *file) encode() []byte {
	raw := binary.AppendUvarint(nil, uint64(f.filed))
	raw = binary.AppendUvarint(raw, uint64(f.bytes))
	for _, s := range f.shelves[detectors.Low:] {
		raw = binary.AppendUvarint(raw, uint64(s.live))
		raw = binary.AppendUvarint(raw, s.first)
		raw = binary.AppendUvarint(raw, s.last)
	}
	return raw
}

func (f *file) decode(raw []byte) error {
	r := reader{rest: raw}
	f.filed, f.bytes = int64(r.uvarint()), int64(r.uvarint())
	for i := range f.shelves[detectors.Low:] {
		f.shelves[int(detectors.Low)+i] = shelf{int64(r.uvarint()), r.uvarint(), r.uvarint()}
	}
	if r.bad || len(r.rest) > 0 || f.live() < 0 {
		return fmt.Errorf("%w: what is in file %d", errDamaged, f.number)
	}
	return nil
}

// close leaves the file on disk.
func (f *file) close() error {
	if f.tx != nil {
		_ = f.tx.Rollback()
	}
	db := f.db
	f.tx, f.db = nil, nil
	if db == nil {
		return nil
	}
	return db.Close()
}

const suffix = ".db"

func fileName(dir string, number uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%07d%s", number, suffix))
}

// fileNumbers lists the ring's files in ascending order and unlinks those that
// were never finished.
func fileNumbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var numbers []uint64
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix+".tmp") {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return nil, err
			}
		}
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if n, err := strconv.ParseUint(name, 10, 64); ok && err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// boltOptions are the same for every file. The page size does not follow the
// kernel's: 16 KiB pages cost three times the flash. The list of free pages is
// kept on disk: without it bbolt walks the whole tree at open, in a goroutine
// that nobody can save from a damaged page.
func (o Options) boltOptions() *bbolt.Options {
	return &bbolt.Options{Timeout: lockWait, PageSize: 4096, FreelistType: bbolt.FreelistMapType, NoSync: o.NoSync, NoGrowSync: o.NoSync}
}

// createFile makes a file of the ring whole: begun under another name, filled,
// synced, renamed. A crash leaves either nothing or all of it. renamed tells
// the two apart where the error came last.
func (o Options) createFile(dir string, number uint64, fill func(*bbolt.Tx) error) (db *bbolt.DB, renamed bool, err error) {
	name := fileName(dir, number)
	tmp := name + ".tmp"
	_ = os.Remove(tmp)
	db, err = bbolt.Open(tmp, 0o600, o.boltOptions())
	if err != nil {
		return nil, false, err
	}
	if err = db.Update(fill); err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		_ = db.Close()
		_ = os.Remove(tmp)
		return nil, false, err
	}
	return db, true, o.syncDir(dir)
}

func (o Options) syncDir(dir string) error {
	if o.NoSync {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// openHead opens the newest file for writing.
func (o Options) openHead(path string) (*bbolt.DB, error) {
	if _, err := os.Stat(path); err != nil { // bbolt would make it
		return nil, err
	}
	return bbolt.Open(path, 0o600, o.boltOptions())
}

// openOld opens an older file for reading.
func (o Options) openOld(path string) (*bbolt.DB, *bbolt.Tx, error) {
	options := o.boltOptions()
	options.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, options)
	if err != nil {
		return nil, nil, err
	}
	tx, err := db.Begin(false)
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return db, tx, nil
}

// verify looks at a file before it is opened. That a child process does so, in
// which a damaged page can do no harm, is still to come; for now it says
// whether the file's newest transaction was torn by a power cut. bbolt then
// goes back one transaction, in silence, and sequences that were given out
// already may be given out again: they need another epoch.
func verify(path string) (torn bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	for page := range int64(2) {
		var head [80]byte
		if _, err := f.ReadAt(head[:], page*4096); err != nil {
			return false, fmt.Errorf("%w: read page %d of %s: %w", errDamaged, page, path, err)
		}
		torn = torn || !metaHolds(head[16:])
	}
	return torn, nil
}

// metaHolds checks a bbolt meta page's own FNV-1a sum over its first 56 bytes.
func metaHolds(meta []byte) bool {
	h := uint64(14695981039346656037)
	for _, c := range meta[:56] {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return binary.NativeEndian.Uint64(meta[56:]) == h
}

// salvage is to make a file that cannot be opened usable: quarantine it, take
// over what its checksums prove, go on with a fresh one. Until then a person has
// to.
func salvage(path string, err error) error {
	return fmt.Errorf("open %s: %w: the file is damaged; move it out of its folder and start again (its events that were not delivered yet are only in it), and replace the card or disk", path, err)
}

// BootID tells one boot of the kernel from another.
func BootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}
