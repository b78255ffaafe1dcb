package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each way in which a real Mosquitto or a real Kafka refuses is told with its
// own cure. TOCSIN_TEST_CERTS is the folder that .ci/certs.sh fills.
func TestLiveAgainstServers(t *testing.T) {
	env := map[string]string{}
	for _, name := range []string{"KAFKA", "KAFKA_SSL", "KAFKA_SASL", "MQTT", "MQTT_TLS", "MQTT_MTLS", "CERTS"} {
		if env[name] = os.Getenv("TOCSIN_TEST_" + name); env[name] == "" {
			t.Skip("no real servers: set TOCSIN_TEST_" + name)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	right, bad := write("right", "edge-secret"), write("bad", "guess")
	ca := fmt.Sprintf("ca = %q", env["CERTS"]+"/ca.pem")
	own := fmt.Sprintf("%s, cert = %q, key = %q", ca, env["CERTS"]+"/client.pem", env["CERTS"]+"/client.key")
	scram := func(password string) string {
		return fmt.Sprintf("tls = {%s}\nsasl = {username = \"edge\", password_file = %q}\n", ca, password)
	}
	port := func(url string) string { return url[strings.LastIndex(url, ":"):] }

	for _, test := range []struct {
		name, kafka string // of [kafka]: the broker and more
		mqtt        string // of [mqtt.hall]
		code        int
		want        []string
	}{
		{"plain", env["KAFKA"], "broker = " + quote(env["MQTT"]), 1, []string{
			`✓ kafka 127.0.0.1:\d+: answers, not encrypted`, `✓ kafka rights of ANONYMOUS: may write`,
			`✗ kafka topic no-such-topic: .*\n    cure: create it with: tocsin topics create`,
			`✓ mqtt.hall tcp://.*: 0 readings`, `✗ .*plain.toml:\d+:\d+ hall/nothing: nothing arrived in 1s\n    cure: if the device sends more seldom, listen longer`}},
		{"mutual TLS", env["KAFKA_SSL"] + " tls = {" + own + "}", "broker = " + quote(env["MQTT_MTLS"]) + "\ntls = {" + own + "}", 1, []string{
			`✓ kafka 127.0.0.1:\d+: answers, mutual TLS`, `✓ mqtt.hall tls://`}},
		{"log-in", env["KAFKA_SASL"] + " " + scram(right), fmt.Sprintf("broker = %q\ntls = {%s}\nusername = \"edge\"\npassword_file = %q", env["MQTT_TLS"], ca, right), 1, []string{
			`✓ kafka 127.0.0.1:\d+: answers, TLS, SCRAM-SHA-512 as edge`, `✓ kafka rights of edge: may write`, `✓ mqtt.hall tls://`}},
		{"wrong password", env["KAFKA_SASL"] + " " + scram(bad), fmt.Sprintf("broker = %q\ntls = {%s}\nusername = \"edge\"\npassword_file = %q", env["MQTT_TLS"], ca, bad), 1, []string{
			`✗ kafka 127.0.0.1:\d+: .*\n    cure: check username, password_file and mechanism`,
			`✗ mqtt.hall tls://.*\n    cure: the broker refused the user`}},
		{"no certificate", env["KAFKA_SSL"] + " tls = {" + ca + "}", "broker = " + quote(env["MQTT_MTLS"]) + "\ntls = {" + ca + "}", 1, []string{
			`✗ kafka 127.0.0.1:\d+: .*\n    cure: the broker asks for a certificate`,
			`✗ mqtt.hall tls://.*\n    cure: .*set cert and key`}},
		{"unknown authority", env["KAFKA_SSL"] + " tls = {}", "broker = " + quote(env["MQTT_MTLS"]), 1, []string{
			`✗ kafka 127.0.0.1:\d+: .*\n    cure: ca in \[kafka\] tls must be`,
			`✗ mqtt.hall tls://.*\n    cure: .*set ca to the one that signed it`}},
		{"another name", env["KAFKA_SSL"] + " tls = {" + own + `, server_name = "kafka.example"}`, "broker = " + quote(env["MQTT_MTLS"]) + "\ntls = {" + own + `, server_name = "mqtt.example"}`, 1, []string{
			`✗ kafka 127.0.0.1:\d+: the server's certificate is not for kafka.example, but for .*\n    cure: connect by a name that it carries`,
			`✗ mqtt.hall tls://.*: the server's certificate is not for mqtt.example, but for .*\n    cure: connect by a name that it carries`}},
		{"the port for TLS", env["KAFKA_SSL"], "broker = " + quote("tcp://127.0.0.1"+port(env["MQTT_TLS"])), 1, []string{
			`✗ kafka 127.0.0.1:\d+: .*\n    cure: .*(expects TLS|expect TLS)`,
			`✗ mqtt.hall tcp://.*\n    cure: .*tls://`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			address, more, _ := strings.Cut(test.kafka, " ")
			path := write(strings.ReplaceAll(test.name, " ", "_")+".toml", fmt.Sprintf(
				"[kafka]\nbrokers = [%q]\nevents = \"no-such-topic\"\n%s\n[spool]\ndir = %q\n[mqtt.hall]\n%s\ntopics = [{topic = \"hall/nothing\", channel = \"a.b\"}]\n",
				address, more, dir, test.mqtt))
			var out, failed bytes.Buffer
			if code := Main([]string{"check", "--live", "--for", "1s", path}, IO{strings.NewReader(""), &out, &failed}); code != test.code {
				t.Errorf("exit code %d: %s", code, failed.String())
			}
			for _, want := range test.want {
				if !regexp.MustCompile(want).MatchString(out.String()) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
		})
	}
}
