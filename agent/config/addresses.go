package config

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

// address checks "host:port".
func (l *loader) address(path []string, address, port string) {
	at := l.at(path...)
	switch bare := address[strings.LastIndex(address, "/")+1:]; {
	case strings.Contains(address, "@"):
		l.fail(at, "write host:port here, and the login in a table of its own with username and password_file", "a login does not belong in an address")
		return
	case strings.ContainsAny(address, ",;"):
		l.fail(at, fmt.Sprintf("write a list: [%s]", quotedList(address)), "%q is several addresses in one text", address)
		return
	case strings.Contains(address, "://") || strings.Contains(address, "/"):
		host := strings.TrimSuffix(address[strings.Index(address, "://")+1:], "/")
		if bare != "" {
			host = bare
		}
		l.fail(at, fmt.Sprintf("write %q; whether it is encrypted says tls", withPort(host, port)), "%q is no host:port", address)
		return
	}
	host, number, err := net.SplitHostPort(address)
	if err != nil {
		l.fail(at, fmt.Sprintf("write %q", withPort(address, port)), "%q has no port", address)
		return
	}
	l.host(at, host)
	l.port(at, number)
}

// withPort adds the port that is missing; the address may be that of IPv6, with
// or without its brackets, and with a port that only looks like a part of it.
func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	if i := strings.LastIndexByte(host, ':'); i > 0 && len(host)-i > 4 && net.ParseIP(host[:i]) != nil {
		return net.JoinHostPort(host[:i], host[i+1:])
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// octets is what is an IPv4 address or nothing.
var octets = regexp.MustCompile(`^[0-9]+(\.[0-9]+){1,4}$`)

// host checks a name or an IP address.
func (l *loader) host(at span, host string) {
	switch {
	case host == "" || strings.ContainsAny(host, " \t"):
		l.fail(at, "write a name or an address before the colon, without spaces", "%q is no host", host)
	case strings.HasSuffix(strings.ToLower(host), ".local"):
		l.fail(at, "write the address, or a name that the site's DNS knows", "names that end in .local are not looked up")
	case octets.MatchString(host) && net.ParseIP(host) == nil:
		l.fail(at, "write four numbers from 0 to 255, without zeros before them: 10.0.0.9", "%q is no address", host)
	}
}

func (l *loader) port(at span, port string) {
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		l.fail(at, "write a number from 1 to 65535 after the colon", "%q is no port", port)
	}
}

// loopback reports whether a host is this machine itself.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

const listenPort = "9273" // the one that the cures name

// agent checks where the agent answers HTTP: the page has no login, so only who
// is on the gateway may ask.
func (l *loader) agent() {
	if !l.has("agent", "listen") {
		return
	}
	address, at := l.config.Agent.Listen, l.at("agent", "listen")
	host, port, err := net.SplitHostPort(address)
	if n, notNumber := strconv.Atoi(port); notNumber != nil || n < 1 || n > 65535 {
		port = listenPort
		if _, bare := strconv.ParseUint(address, 10, 16); bare == nil {
			port = address
		}
	}
	cure := fmt.Sprintf("write %q", net.JoinHostPort("127.0.0.1", port))
	switch _, given, _ := net.SplitHostPort(address); {
	case address == "":
		l.fail(at, cure+", or remove the line: the socket answers all the same", "listen is empty")
	case err != nil && strings.Contains(address, "/"):
		l.fail(at, cure, "%q is no host:port", address)
	case err != nil:
		l.fail(at, cure, "%q has no port", address)
	case !loopback(host):
		l.fail(at, cure+"; for others put a proxy with a login before it", "%q can be reached from other machines, and asks for no password", address)
	case given != port:
		l.fail(at, cure, "%q is no port that anybody could find", given)
	}
}
