package mqtt

import (
	"net"
	"syscall"
)

// quickAck makes the kernel acknowledge what has arrived at once instead of up to
// 40 ms later. A broker that leaves Nagle's algorithm on, as Mosquitto does, holds
// its next messages back until then (tcp(7), TCP_QUICKACK; it does not last).
func quickAck(c net.Conn) func() {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return func() {}
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return func() {}
	}
	set := func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) }
	return func() { _ = raw.Control(set) } // without it the messages are only later
}
