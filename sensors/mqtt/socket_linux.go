//go:build !386 && !s390x

package mqtt

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// socket reads a TCP connection with as little ado as there can be. Its system
// calls never block, so Go's scheduler is not told of them: to be told wakes a
// thread that looks after blocked calls, which at 10,000 messages a second costs
// more than the messages do. One goroutine reads.
type socket struct {
	net.Conn
	raw  syscall.RawConn
	once func(fd uintptr) (ready bool)
	into []byte
	n    int
	err  error
}

// quick is c itself where it is no TCP connection.
func quick(c net.Conn) net.Conn {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return c
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return c
	}
	s := &socket{Conn: c, raw: raw}
	s.once = s.try
	return s
}

// Read implements net.Conn. A read that does not fill b has emptied the socket:
// what arrived is acknowledged at once.
func (s *socket) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	s.into, s.n, s.err = b, 0, nil
	if err := s.raw.Read(s.once); err != nil { // the connection was closed here, or its deadline has passed
		return 0, err
	}
	switch {
	case s.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: s.err}
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// try reads once and reports whether there was something to read.
func (s *socket) try(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&s.into[0])), uintptr(len(s.into)))
		switch errno {
		case 0:
			if s.n = int(n); s.n < len(s.into) {
				acknowledge(fd)
			}
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			s.err = os.NewSyscallError("read", errno)
			return true
		}
	}
}

// acknowledge makes the kernel acknowledge what has arrived at once instead of up
// to 40 ms later. A broker that leaves Nagle's algorithm on, as Mosquitto does,
// holds its next messages back until then (tcp(7), TCP_QUICKACK; it does not
// last). Without it the messages are only later.
func acknowledge(fd uintptr) {
	on := int32(1)
	_, _, _ = syscall.RawSyscall6(syscall.SYS_SETSOCKOPT, fd, syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, uintptr(unsafe.Pointer(&on)), unsafe.Sizeof(on), 0)
}
