// Package web answers HTTP on the agent's socket and, where the site wants it,
// on a loopback port: /metrics, /healthz, /readyz; on the socket alone also
// /status, /dump and /reload.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"tocsin/agent/health"
)

// Options are what the answers are made from.
type Options struct {
	Status func() health.Status
	// Dump writes what the buffer holds, one JSON line a record.
	Dump func(to io.Writer) error
	// Reload applies the configuration file anew and says what has changed, or why
	// nothing has; nil: it cannot be asked for.
	Reload func(ctx context.Context) (report string, err error)
	Log    *slog.Logger
}

// Handler answers on the socket, whose mode says who may ask:
//
//	GET  /status   health.Status, JSON
//	GET  /dump     what the buffer holds, JSON lines
//	POST /reload   200 and what changed, 422 and why nothing did
//
// and all that Public answers.
func Handler(o Options) http.Handler {
	mux := public(o)
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(o.Status()) // the asker went away
	})
	mux.HandleFunc("GET /dump", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jsonl")
		if err := o.Dump(w); err != nil {
			o.Log.Warn("dump of the buffer broken off", "error", err)
			panic(http.ErrAbortHandler) // net/http's way to let the asker know that the rest is missing
		}
	})
	if o.Reload != nil {
		mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) {
			report, err := o.Reload(r.Context())
			if err != nil {
				text(w, http.StatusUnprocessableEntity, err.Error())
				return
			}
			text(w, http.StatusOK, report)
		})
	}
	return mux
}

// Public answers on a loopback port, to whoever runs on this machine:
//
//	GET /          what there is to ask for
//	GET /metrics   Prometheus text exposition
//	GET /healthz   200 while all is done that the agent is there for, else 503; and why
//	GET /readyz    200 once the agent runs, whatever its sensors and Kafka do
//
// A page in a browser on this machine is nobody's to ask for it: requests that
// name another host than this one (DNS rebinding), or come from another site,
// are refused.
func Public(o Options) http.Handler {
	mux := public(o)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why := foreign(r); why != "" {
			text(w, http.StatusForbidden, why)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func public(o Options) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "/metrics  for Prometheus\n/healthz  200 while all is done that the agent is there for, and what is not\n/readyz   200 once it runs")
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		s := o.Status()
		_, _ = w.Write(metrics(&s)) // the asker went away
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s := o.Status()
		code := http.StatusOK
		if s.Health == health.Failed {
			code = http.StatusServiceUnavailable
		}
		text(w, code, s.Summary())
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		s := o.Status()
		code := http.StatusOK
		if s.State != health.Running {
			code = http.StatusServiceUnavailable
		}
		text(w, code, s.State)
	})
	return mux
}

func text(w http.ResponseWriter, code int, line string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_, _ = fmt.Fprintln(w, strings.TrimSuffix(line, "\n")) // the asker went away
}

// foreign says why a request is not of this machine's own making; empty if it
// may be.
func foreign(r *http.Request) string {
	if !loopback(r.Host) {
		return "the host must be localhost, 127.0.0.1 or [::1]"
	}
	switch r.Header.Get("Sec-Fetch-Site") { // W3C Fetch Metadata, 2.3
	case "", "none", "same-origin":
	default:
		return "another site may not ask"
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || !loopback(u.Host) {
			return "another site may not ask"
		}
	}
	return ""
}

// loopback reports whether host, or host:port, is localhost or a literal address
// of this machine alone. It asks no resolver.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"))
	return err == nil && ip.IsLoopback()
}

// Listen opens a port that this machine alone can reach: address is host:port,
// where host is localhost or a loopback address.
func Listen(address string) (net.Listener, error) {
	const cure = "set [agent] listen to 127.0.0.1:PORT"
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w; %s", address, err, cure)
	}
	if !loopback(host) {
		return nil, fmt.Errorf("listen on %q: other machines could reach it, and nothing would ask them for a password; %s", address, cure)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w; %s that is free", err, cure)
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() { // what /etc/hosts makes of localhost
		return nil, errors.Join(fmt.Errorf("listen on %q: it is %v, which other machines can reach; %s", address, l.Addr(), cure), l.Close())
	}
	return l, nil
}

// Server is an HTTP server that a slow or greedy asker cannot hold up. A dump
// may take as long as it takes.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 8 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}
