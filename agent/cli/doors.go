package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"tocsin/agent/config"
	"tocsin/agent/web"
)

// doors are what the agent answers HTTP on: the unix socket and, where the site
// wants it, a loopback port.
type doors struct{ socket, port *door }

// door is one address that is answered on. A nil door answers nobody.
type door struct {
	server *http.Server
	closed chan struct{}
}

// leaving is how long an answer under way may take when its door closes.
const leaving = 10 * time.Second

// open opens both doors of the first configuration. Where one of them cannot be,
// the other is open all the same.
func (a *agent) open(cfg *config.Config) (doors, error) {
	return a.doors.moved(a.answers(), &config.Config{}, cfg, a.log)
}

// reopen opens the doors that are elsewhere in the next configuration; the others
// stay as they are. After an error none was opened.
func (a *agent) reopen(next *config.Config) (doors, error) {
	d, err := a.doors.moved(a.answers(), a.now().config, next, a.log)
	if err != nil {
		d.closeAllBut(a.doors)
	}
	return d, err
}

// answers are what the agent says at its doors.
func (a *agent) answers() web.Options {
	return web.Options{Status: a.health.Status, Dump: func(to io.Writer) error { return dump(to, a.now().spool) }, Reload: a.reload, Log: a.log}
}

// moved are the doors where the next configuration has them.
func (d doors) moved(answers web.Options, was, next *config.Config, log *slog.Logger) (doors, error) {
	var failed, unopened error
	if was.Agent.Socket != next.Agent.Socket {
		d.socket, failed = opened(next.Agent.Socket, listenAt, web.Handler(answers), log)
	}
	if was.Agent.Listen != next.Agent.Listen {
		d.port, unopened = opened(next.Agent.Listen, web.Listen, web.Public(answers), log)
	}
	return d, errors.Join(failed, unopened)
}

// opened is a door at an address; none at "".
func opened(address string, listen func(string) (net.Listener, error), answer http.Handler, log *slog.Logger) (*door, error) {
	if address == "" {
		return nil, nil
	}
	l, err := listen(address)
	if err != nil {
		return nil, err
	}
	d := &door{web.Server(answer, log), make(chan struct{})}
	if l.Addr().Network() == "tcp" {
		log.Info("metrics are served", "at", "http://"+l.Addr().String()+"/metrics")
	}
	go func() {
		defer close(d.closed)
		_ = d.server.Serve(l) // ends when the door is closed
	}()
	return d, nil
}

// closeAllBut closes the doors that others do not have, when what is being
// answered there has been: the one who asked for a reload, for example.
func (d doors) closeAllBut(others doors) {
	for _, one := range []*door{d.socket, d.port} {
		if one != nil && one != others.socket && one != others.port {
			go func() {
				ctx, enough := context.WithTimeout(context.Background(), leaving)
				defer enough()
				_ = one.server.Shutdown(ctx)
				one.close()
			}()
		}
	}
}

func (d doors) close() {
	d.socket.close()
	d.port.close()
}

func (d *door) close() {
	if d != nil {
		_ = d.server.Close()
		<-d.closed
	}
}
