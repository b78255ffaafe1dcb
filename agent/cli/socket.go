package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// socket serves the status commands. A nil socket serves nobody.
type socket struct {
	listener net.Listener
	server   *http.Server
}

// listen opens the unix socket and begins to answer when serve is called.
func (a *agent) listen() (*socket, error) {
	l, err := listenAt(a.config.Agent.Socket)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.status()) // the asker went away
	})
	mux.HandleFunc("GET /dump", func(w http.ResponseWriter, _ *http.Request) {
		if err := dump(w, a.spool); err != nil {
			a.log.Warn("dump of the buffer broken off", "error", err)
			panic(http.ErrAbortHandler) // net/http's way to let the asker know that the rest is missing
		}
	})
	return &socket{l, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}, nil
}

// longestPath is what fits a unix socket's address, sun_path of unix(7).
const longestPath = 107

// listenAt takes over the socket that a killed agent left behind, and nothing
// else that may stand there.
func listenAt(path string) (net.Listener, error) {
	const cure = "set [agent] socket to a path of its own that this user may write"
	if len(path) > longestPath {
		return nil, fmt.Errorf("open the socket: %s has %d bytes, Linux takes %d at most; set [agent] socket to a shorter path", path, len(path), longestPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w; %s", err, cure)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("look for the socket of an earlier run: %w; %s", err, cure)
	case info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("open the socket: %s is there and is no socket; %s", path, cure)
	default:
		if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
			return nil, errors.Join(fmt.Errorf("open the socket: another agent answers on %s; %s", path, cure), conn.Close())
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("take over the socket of an earlier run: %w; %s", err, cure)
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the socket: %w; %s", err, cure)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the socket: %w", err), l.Close())
	}
	return l, nil
}

func (s *socket) serve() {
	if s != nil {
		_ = s.server.Serve(s.listener) // ends when close is called
	}
}

func (s *socket) close() {
	if s != nil {
		_ = s.server.Close()
	}
}

// errNobody says that no agent answers on the socket.
var errNobody = errors.New("no agent is running")

// ask gets a path of the running agent, and errNobody where none runs.
func ask(socket, path string) (io.ReadCloser, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: 10 * time.Second,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", socket)
		}}}
	r, err := client.Get("http://tocsin" + path)
	switch {
	case err == nil:
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNobody
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("ask the running agent on %s: %w; run this as root or as the agent's user", socket, err)
	case len(socket) > longestPath:
		return nil, errNobody // nor can any agent listen there
	default:
		return nil, fmt.Errorf("ask the running agent on %s: %w; its log says what it is busy with", socket, err)
	}
	if r.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("ask the running agent for %s: %s", path, r.Status), r.Body.Close())
	}
	return r.Body, nil
}
