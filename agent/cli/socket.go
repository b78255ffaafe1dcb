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
	"time"
)

// socket serves the status commands. A nil socket serves nobody.
type socket struct {
	listener net.Listener
	server   *http.Server
}

// listen opens the unix socket. One that a killed agent left behind is taken
// over: the spool's lock has already shown that no other agent runs.
func (a *agent) listen() (*socket, error) {
	path := a.config.Agent.Socket
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the socket's folder: %w; set [agent] socket to a path this user may write", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("take over the socket of an earlier run: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the socket: %w; set [agent] socket to a path this user may write", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("protect the socket: %w", err), l.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(a.status()) // the asker went away
	})
	mux.HandleFunc("GET /dump", func(w http.ResponseWriter, _ *http.Request) {
		if err := dump(w, a.spool); err != nil {
			a.log.Warn("dump of the buffer broken off", "error", err)
		}
	})
	return &socket{l, &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}}, nil
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
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", socket)
	}}}
	r, err := client.Get("http://tocsin" + path)
	if err != nil {
		if _, e := os.Stat(socket); errors.Is(e, os.ErrNotExist) || errors.Is(err, errRefused) {
			return nil, errNobody
		}
		return nil, fmt.Errorf("ask the running agent on %s: %w; run this as root or as the agent's user", socket, err)
	}
	if r.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("ask the running agent for %s: %s", path, r.Status), r.Body.Close())
	}
	return r.Body, nil
}
