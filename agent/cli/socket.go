package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

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

// errNobody says that no agent answers on the socket.
var errNobody = errors.New("no agent is running")

// ask gets a path of the running agent, and errNobody where none runs.
func ask(socket, path string) (io.ReadCloser, error) {
	r, err := request(socket, http.MethodGet, path, 10*time.Second)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("ask the running agent for %s: %s", path, r.Status), r.Body.Close())
	}
	return r.Body, nil
}

// post has the running agent do something and returns its report; what it says
// against it is the error.
func post(socket, path string) (report string, err error) {
	r, err := request(socket, http.MethodPost, path, 2*time.Minute)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return "", fmt.Errorf("read the running agent's answer: %w", err)
	case r.StatusCode == http.StatusOK:
		return string(text), nil
	case r.StatusCode == http.StatusUnprocessableEntity:
		return "", fmt.Errorf("%s: %w", strings.TrimSpace(string(text)), errRefused)
	}
	return "", fmt.Errorf("ask the running agent for %s: %s", path, r.Status)
}

// request asks the agent on the socket, which must begin to answer within
// patience.
func request(socket, method, path string, patience time.Duration) (*http.Response, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: patience,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", socket)
		}}}
	r, err := http.NewRequest(method, "http://tocsin"+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	got, err := client.Do(r)
	switch {
	case err == nil:
		return got, nil
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ECONNREFUSED):
		return nil, errNobody
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("ask the running agent on %s: %w; run this as root or as the agent's user", socket, err)
	case len(socket) > longestPath:
		return nil, errNobody // nor can any agent listen there
	}
	return nil, fmt.Errorf("ask the running agent on %s: %w; its log says what it is busy with", socket, err)
}
