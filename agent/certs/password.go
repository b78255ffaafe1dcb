package certs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CredentialsDirectory is the environment variable in which systemd names the
// folder of a service's credentials (systemd.exec(5), LoadCredential=).
const CredentialsDirectory = "CREDENTIALS_DIRECTORY"

// Password reads a password from a file, anew each time the function that it
// returns is called. A bare name is looked for among systemd's credentials
// first. The line end after the password is not part of it. Errors are an *Error
// and never hold the password.
func Password(path string) func() (string, error) {
	return func() (string, error) {
		file := Find(path)
		if err := Private(file); err != nil {
			return "", err
		}
		text, err := read(file)
		if err != nil {
			return "", err
		}
		text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		switch {
		case len(text) == 0:
			return "", &Error{File: file, Problem: "there is no password in it", Cure: "write the password into it, on one line"}
		case bytes.ContainsAny(text, "\n\x00"):
			return "", &Error{File: file, Problem: "it has more than one line", Cure: "write the password alone into it, on one line"}
		}
		return string(text), nil
	}
}

// Find is the file that a secret's name means: a systemd credential of that
// name where there is one, else the name itself.
func Find(name string) string {
	if folder := os.Getenv(CredentialsDirectory); folder != "" && name != "" && !strings.ContainsRune(name, filepath.Separator) {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return name
}

// Private refuses, with an *Error, a file that others than its owner may read.
// What lies among systemd's credentials is trusted: there the folder is closed
// and an access list, which shows as group rights, may open the file to the
// service's user. A file that is not there is not refused.
func Private(file string) error {
	info, err := os.Stat(file)
	if err != nil || info.IsDir() || info.Mode().Perm()&0o077 == 0 {
		return nil //nolint:nilerr // reading it says what is wrong
	}
	if folder := os.Getenv(CredentialsDirectory); folder != "" && filepath.Dir(file) == filepath.Clean(folder) {
		return nil
	}
	return &Error{File: file, Problem: fmt.Sprintf("this secret can be read by others (mode %04o)", info.Mode().Perm()),
		Cure: "close it: chmod 600 " + file}
}
