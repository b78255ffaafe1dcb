//go:build !linux || 386 || s390x

package mqtt

import "net"

// quick is a matter of Linux, where it has a system call of its own for each.
func quick(c net.Conn) net.Conn { return c }
