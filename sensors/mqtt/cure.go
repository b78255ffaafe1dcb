package mqtt

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// cure says what a person can do about an error of the connection.
func (s *Source) cure(err error) string {
	a := s.address
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && strings.HasSuffix(a.url.Hostname(), ".local"):
		return "names in .local (mDNS) are not supported: write the broker's address"
	case errors.As(err, &dns):
		return "check broker and the gateway's name server, or write the broker's address"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: check that the broker runs, and its port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to that network: check cable, route and gateway"
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return "the broker refused the user: check username and password_file, and that the broker knows them"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "the broker refused the client id: set another client_id"
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return "the broker does not speak MQTT 3.1.1"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "check that the file is there and that the agent may read it"
	}
	if cure := s.cureTLS(err); cure != "" {
		return cure
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), os.IsTimeout(err):
		return "no answer: check the address and port, and that no firewall drops them"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return s.cureClosed(err)
	}
	return ""
}

// cureClosed is about a broker that ends the connection without a word.
func (s *Source) cureClosed(err error) string {
	var greeting *handshakeError
	switch {
	case errors.As(err, &greeting):
		return "the broker closed the connection where TLS begins: the port may not be for TLS, write tcp:// or the port for TLS"
	case !s.address.secure:
		return "the broker closed the connection: check that no other client uses this client_id, and that the port is not one for tls://"
	case !s.showsCertificate():
		return "the broker closed the connection: if it asks for a certificate set cert and key; check also that no other client uses this client_id"
	}
	return "the broker closed the connection: check cert and key, that they are not expired, and that no other client uses this client_id"
}

// showsCertificate reports whether this gateway has one to show.
func (s *Source) showsCertificate() bool {
	c := s.options.TLS
	return c != nil && (c.GetClientCertificate != nil || len(c.Certificates) > 0)
}

// cureTLS is about certificates.
func (s *Source) cureTLS(err error) string {
	var (
		unknown  x509.UnknownAuthorityError
		name     x509.HostnameError
		invalid  x509.CertificateInvalidError
		verify   *tls.CertificateVerificationError
		noTLS    tls.RecordHeaderError
		peerSaid *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return "the broker's certificate descends from no known authority: set ca to the one that signed it"
	case errors.As(err, &name):
		return "the broker's certificate is for another name: write that name in broker, or set server_name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the broker's certificate is not valid now: check the gateway's clock, and renew the certificate"
	case errors.As(err, &verify), errors.As(err, &invalid):
		return "the broker's certificate does not verify: check ca"
	case errors.As(err, &noTLS):
		return "that port does not speak TLS: write tcp:// or the port for TLS"
	case errors.As(err, &peerSaid) && peerSaid.Op == "remote error" && !s.showsCertificate():
		return "the broker asks for a certificate: set cert and key"
	case errors.As(err, &peerSaid) && peerSaid.Op == "remote error":
		return "the broker refused this gateway's certificate: check cert and key, that they are not expired, and that the broker trusts their authority"
	}
	return ""
}
