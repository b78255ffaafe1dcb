package cli

import (
	"bytes"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// columns is how wide a paragraph is where nothing says how wide the terminal
// is: that of a gateway has no more.
const columns = 80

// screen is the size of a terminal in characters; the zero value is none.
type screen struct{ rows, columns int }

// screenOf is the terminal that w writes to (ioctl_tty(2), TIOCGWINSZ). A serial
// console does not know its size and has 24 lines.
func screenOf(w io.Writer) screen {
	f, ok := w.(*os.File)
	if !ok {
		return screen{}
	}
	if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err != nil {
		return screen{}
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row == 0 || size.Col == 0 {
		return screen{24, columns}
	}
	return screen{int(size.Row), int(size.Col)}
}

// width is how wide a paragraph is there.
func (s screen) width() int {
	const least, most = 30, 120 // narrower is no text, wider is hard to read
	if s.columns == 0 {
		return columns
	}
	return min(max(s.columns, least), most)
}

// frame is a page as it is written there: from the top left corner, each line and
// the rest of the screen cleared of what was there (ECMA-48, CUP, EL and ED), so
// that nothing flickers. Lines below the last row are left out, or the first ones,
// which say what matters, would scroll away.
func (s screen) frame(page []byte) []byte {
	if s.rows == 0 {
		return page
	}
	lines := bytes.Split(bytes.TrimSuffix(page, []byte("\n")), []byte("\n"))
	if len(lines) > s.rows {
		lines = append(lines[:s.rows-1:s.rows-1], []byte("…"))
	}
	var out bytes.Buffer
	out.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			out.WriteByte('\n')
		}
		out.Write(line)
		out.WriteString("\x1b[K")
	}
	out.WriteString("\x1b[J")
	return out.Bytes()
}
