package kafka

import (
	"context"
	"fmt"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// SASL is a log-in with a name and a password.
type SASL struct {
	Mechanism string                 // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512; default SCRAM-SHA-512
	Username  string                 //
	Password  func() (string, error) // asked at each connect, so that a new one needs no restart
}

// credentialError says that there is no password to log in with.
type credentialError struct{ error }

func (e credentialError) Unwrap() error { return e.error }

func (s *SASL) check() error {
	switch {
	case s == nil:
		return nil
	case s.Password == nil:
		return fmt.Errorf("kafka: sasl of user %q has no password", s.Username)
	}
	switch s.Name() {
	case "PLAIN", scram.SHA256.Name(), scram.SHA512.Name():
		return nil
	}
	return fmt.Errorf("kafka: sasl mechanism %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512", s.Mechanism)
}

// Name is the mechanism, as kafka-go asks for it.
func (s *SASL) Name() string {
	if s.Mechanism == "" {
		return scram.SHA512.Name()
	}
	return s.Mechanism
}

// Start begins one log-in, with the password as it is now.
func (s *SASL) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	password, err := s.Password()
	if err != nil {
		return nil, nil, credentialError{fmt.Errorf("read the password of user %q: %w", s.Username, err)}
	}
	var m sasl.Mechanism = plain.Mechanism{Username: s.Username, Password: password}
	if name := s.Name(); name != "PLAIN" {
		algorithm := scram.SHA512
		if name == scram.SHA256.Name() {
			algorithm = scram.SHA256
		}
		if m, err = scram.Mechanism(algorithm, s.Username, password); err != nil {
			return nil, nil, credentialError{fmt.Errorf("use the password of user %q: %w", s.Username, err)}
		}
	}
	return m.Start(ctx)
}
