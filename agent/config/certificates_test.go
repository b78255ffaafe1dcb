package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A certificate that is out of date is told where its file is named, in the file
// that names it, once there is a time to judge it by; Load itself starts all the
// same.
func TestCheckCertificates(t *testing.T) {
	site(t)
	text := "[kafka]\nbrokers = [\"a:1\"]\n[kafka.tls]\nca = \"certs/ca.pem\"\ncert = \"certs/gw.pem\"\nkey = \"certs/gw.key\"\n[simulate.hall]\n"
	own := "[mqtt.hall]\nbroker = \"tls://a:8883\"\ntls = {ca = \"certs/ca.pem\"}\ntopics = [{topic = \"a\", channel = \"a.b\"}]\n"
	c, err := newLoader([]source{{"tocsin.toml", []byte(text)}, {"conf.d/1.toml", []byte(own)}}).load()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Time{{}, time.Now()} {
		if err := c.CheckCertificates(at); err != nil {
			t.Errorf("at %v:\n%v", at, err)
		}
	}
	err = c.CheckCertificates(time.Now().AddDate(1, 0, 0))
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 3 {
		t.Fatal(err)
	}
	for i, want := range []string{
		"tocsin.toml:4:6: ca certs/ca.pem: the certificate expired on ",
		"tocsin.toml:5:8: cert certs/gw.pem: the certificate expired on ",
		"conf.d/1.toml:3:13: ca certs/ca.pem: the certificate expired on ",
	} {
		if !strings.HasPrefix(errs[i].Error(), want) || !strings.HasSuffix(errs[i].Error(), "cure: renew it") {
			t.Errorf("%v\nwant %s", errs[i], want)
		}
	}
}
