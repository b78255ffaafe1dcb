package street

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// sector is what a disk writes whole: a power cut tears between two of them.
const sector = 512

// syncTakes is how long fsync does, as on an SD card.
const syncTakes = 20 * time.Millisecond

// disk is a file system that keeps what was written apart from what was synced,
// and loses the difference when the power is cut. Names are safe at once, as a
// journal keeps them; contents are safe when fsync has returned. It lives in
// this process, so nothing else here may touch its files.
type disk struct {
	dir   string
	mu    sync.Mutex
	files map[*diskFile]bool
	off   bool
	lost  int // sectors that power cuts took
}

// newDisk mounts an empty disk until the test has ended. It skips the test
// where nothing may be mounted.
func newDisk(t *testing.T) *disk {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and /dev/fuse")
	}
	dir, err := os.MkdirTemp("", "tocsin-disk")
	if err != nil {
		t.Fatal(err)
	}
	d := &disk{dir: dir, files: map[*diskFile]bool{}}
	server, err := fs.Mount(dir, &folder{disk: d}, &fs.Options{
		MountOptions: fuse.MountOptions{FsName: "street", DirectMountStrict: true},
	})
	if err != nil {
		os.Remove(dir)
		t.Skipf("nothing may be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Unmount(); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
		os.Remove(dir)
	})
	return d
}

// cut is the power going: of every write that was not synced, each sector is
// there or not. Nothing is read or written any more until restore; a program
// that runs on the disk is to be killed at once.
func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
	for f := range d.files {
		for _, w := range f.pending {
			if w.bytes == nil {
				f.kept = resize(f.kept, w.at)
			}
			for i := 0; i < len(w.bytes); i += sector {
				if rand.IntN(2) == 0 {
					d.lost++
					continue
				}
				f.kept = write{w.at + i, w.bytes[i:min(i+sector, len(w.bytes))]}.to(f.kept)
			}
		}
		f.pending, f.now = nil, slices.Clone(f.kept)
	}
}

// restore gives the power back.
func (d *disk) restore() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = false
}

// write is bytes written somewhere, or, without bytes, the file's new size.
type write struct {
	at    int
	bytes []byte
}

func (w write) to(b []byte) []byte {
	if w.bytes == nil {
		return resize(b, w.at)
	}
	b = resize(b, max(len(b), w.at+len(w.bytes)))
	copy(b[w.at:], w.bytes)
	return b
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// folder is a directory; go-fuse keeps its names.
type folder struct {
	fs.Inode
	disk *disk
}

func (f *folder) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.Mode = 0o700
	return 0
}

func (f *folder) Setattr(ctx context.Context, h fs.FileHandle, _ *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	return f.Getattr(ctx, h, out)
}

func (f *folder) Create(ctx context.Context, name string, _, _ uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	file := &diskFile{disk: f.disk}
	f.disk.mu.Lock()
	f.disk.files[file] = true
	f.disk.mu.Unlock()
	out.Mode = 0o600
	return f.NewInode(ctx, file, fs.StableAttr{Mode: fuse.S_IFREG}), nil, 0, 0
}

func (f *folder) Mkdir(ctx context.Context, _ string, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	out.Mode = 0o700
	return f.NewInode(ctx, &folder{disk: f.disk}, fs.StableAttr{Mode: fuse.S_IFDIR}), 0
}

func (f *folder) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return 0
}
func (f *folder) Unlink(_ context.Context, name string) syscall.Errno {
	if file, ok := f.GetChild(name).Operations().(*diskFile); ok {
		f.disk.mu.Lock()
		delete(f.disk.files, file)
		f.disk.mu.Unlock()
	}
	return 0
}
func (f *folder) Rmdir(context.Context, string) syscall.Errno                { return 0 }
func (f *folder) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno { return 0 }
func (f *folder) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.Blocks, out.Bfree, out.Bavail = 4096, 4096, 1<<20, 1<<20, 1<<20
	return 0
}

// diskFile is a file: as programs see it now, as the medium has it, and what
// lies between the two in order. The disk's lock guards it.
type diskFile struct {
	fs.Inode
	disk      *disk
	now, kept []byte
	pending   []write
}

func (f *diskFile) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	return nil, 0, 0
}

func (f *diskFile) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	out.Mode, out.Size = 0o600, uint64(len(f.now))
	out.Blocks = (out.Size + sector - 1) / sector
	return 0
}

func (f *diskFile) Setattr(ctx context.Context, h fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		if errno := f.change(write{at: int(size)}); errno != 0 {
			return errno
		}
	}
	return f.Getattr(ctx, h, out)
}

func (f *diskFile) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return nil, syscall.EIO
	}
	from := min(int(off), len(f.now))
	return fuse.ReadResultData(slices.Clone(f.now[from:min(from+len(dest), len(f.now))])), 0
}

func (f *diskFile) Write(_ context.Context, _ fs.FileHandle, b []byte, off int64) (uint32, syscall.Errno) {
	return uint32(len(b)), f.change(write{int(off), slices.Clone(b)})
}

func (f *diskFile) change(w write) syscall.Errno {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return syscall.EIO
	}
	f.now = w.to(f.now)
	f.pending = append(f.pending, w)
	return 0
}

func (f *diskFile) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	f.disk.mu.Lock()
	asked := len(f.pending)
	f.disk.mu.Unlock()
	time.Sleep(syncTakes)
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.off {
		return syscall.EIO
	}
	asked = min(asked, len(f.pending)) // another fsync was faster
	for _, w := range f.pending[:asked] {
		f.kept = w.to(f.kept)
	}
	f.pending = slices.Delete(f.pending, 0, asked)
	return 0
}

// TestDisk writes from another process, as the agent does: what was synced
// outlives a power cut, what was not is torn.
func TestDisk(t *testing.T) {
	d := newDisk(t)
	const script = `cd "$0" && mkdir sub && printf kept >sub/a && sync sub/a && mv sub/a b && printf none >c && head -c 65536 /dev/zero | tr '\0' x >d`
	if out, err := shell(script, d.dir); err != nil {
		t.Fatalf("write: %v\n%s", err, out)
	}
	if out, err := shell(`cd "$0" && cat b c && wc -c <d`, d.dir); err != nil || out != "keptnone65536\n" {
		t.Fatalf("before the cut: %q, %v", out, err)
	}
	d.cut()
	d.restore()
	out, err := shell(`cd "$0" && cat b && tr -d '\0' <d | wc -c`, d.dir)
	if err != nil || len(out) < 5 || out[:4] != "kept" || out[4:] == "65536\n" || out[4:] == "0\n" || d.lost == 0 {
		t.Fatalf("after the cut: %q, %v, %d sectors lost", out, err, d.lost)
	}
}
