package health

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"time"
)

// expiry is the first of the gateway's own certificates, PEM files, to expire;
// nil if none can be read, which is told by whoever needs it.
func expiry(files []string) (at *time.Time, file string) {
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		block, _ := pem.Decode(text)
		if block == nil {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes) // the first of a chain (RFC 8446, 4.4.2)
		if err == nil && (at == nil || leaf.NotAfter.Before(*at)) {
			at, file = &leaf.NotAfter, name
		}
	}
	return at, file
}
