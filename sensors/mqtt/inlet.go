package mqtt

import (
	"net"
	"time"
)

// lull is how long messages that come thick may gather in the kernel before they
// are read. To be woken is what costs most: at 10,000 messages a second, ten are
// then read at once for the price of one. They wait here instead of in a batch,
// which is handed on as soon as nothing more has arrived (dry).
const lull = time.Millisecond

// thick is how many bytes make a read worth its waking; it is not put off then.
// Twenty messages, all that some brokers send before the first is acknowledged,
// are about as much.
const thick = 2 << 10

const inletBytes = 32 << 10

// inlet reads a TCP connection, under TLS if there is any. One goroutine reads.
type inlet struct {
	net.Conn
	dry  func() // called when everything read was passed on
	buf  [inletBytes]byte
	r, w int
	last time.Time // when something was read last
}

func (in *inlet) Read(b []byte) (int, error) {
	if in.r == in.w {
		in.dry()
		if in.w > 0 && in.w < thick && time.Since(in.last) < lull {
			time.Sleep(lull)
		}
		n, err := in.Conn.Read(in.buf[:])
		in.r, in.w = 0, n
		in.last = time.Now()
		if n == 0 {
			return 0, err
		}
	}
	n := copy(b, in.buf[in.r:in.w])
	in.r += n
	return n, nil
}
