package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/websocket"
)

// address is a broker's, checked.
type address struct {
	url    *url.URL // with its port
	secure bool
	web    bool
}

func parseAddress(s string) (address, error) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return address{}, fmt.Errorf("broker %q: write tcp://host:1883, tls://host:8883, ws://host/path or wss://host/path", s)
	}
	if u.User != nil {
		return address{}, errors.New("broker: a password in the address ends up in logs; use username and password_file")
	}
	a := address{url: u}
	var port string
	switch u.Scheme {
	case "tcp", "mqtt":
		port = "1883"
	case "tls", "ssl", "mqtts":
		port, a.secure = "8883", true
	case "ws":
		port, a.web = "80", true
	case "wss":
		port, a.secure, a.web = "443", true, true
	default:
		return address{}, fmt.Errorf("broker %q: %s:// is none of tcp, tls, ws and wss", s, u.Scheme)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	return a, nil
}

// dial opens the connection, with TLS where the address says so. What arrives
// over it comes in through an inlet, which calls dry.
func (a address) dial(ctx context.Context, config *tls.Config, dry func()) (net.Conn, error) {
	open := func(ctx context.Context, network, addr string) (net.Conn, error) {
		raw, err := new(net.Dialer).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &inlet{Conn: quick(raw), dry: dry}, nil
	}
	if a.secure {
		if config = config.Clone(); config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if config.ServerName == "" {
			config.ServerName = a.url.Hostname()
		}
	}
	if a.web {
		return a.dialWeb(ctx, config, open)
	}
	raw, err := open(ctx, "tcp", a.url.Host)
	if err != nil || !a.secure {
		return raw, err
	}
	c := tls.Client(raw, config)
	if err := c.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &handshakeError{err}
	}
	return c, nil
}

// handshakeError says that a connection ended before TLS was agreed on.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

func (a address) dialWeb(ctx context.Context, config *tls.Config, open func(ctx context.Context, network, addr string) (net.Conn, error)) (net.Conn, error) {
	d := websocket.Dialer{NetDialContext: open, Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, Subprotocols: []string{"mqtt"}}
	ws, resp, err := d.DialContext(ctx, a.url.String(), nil)
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("the server answered %s instead of a WebSocket: %w", resp.Status, err)
		}
		return nil, err
	}
	return &webConn{Conn: ws}, nil
}

// webConn is a WebSocket as a stream of bytes (MQTT 3.1.1, 6). One goroutine
// reads and one at a time writes.
type webConn struct {
	*websocket.Conn
	frame io.Reader
}

func (c *webConn) Read(b []byte) (int, error) {
	for {
		if c.frame == nil {
			kind, frame, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, errors.New("the broker sent a WebSocket frame that is not binary")
			}
			c.frame = frame
		}
		n, err := c.frame.Read(b)
		if err == io.EOF {
			c.frame, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *webConn) Write(b []byte) (int, error) {
	if err := c.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *webConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}
