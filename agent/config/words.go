package config

import (
	"slices"
	"strings"
)

// otherNames are what other programs, and other languages, call our keys. The
// first of the names on the right that the table knows is the one that was
// meant.
var otherNames = map[string][]string{
	"bootstrap": {"brokers"}, "bootstrap_servers": {"brokers"}, "bootstrap.servers": {"brokers"}, "servers": {"brokers", "broker"}, "server": {"broker", "brokers"},
	"hosts": {"brokers", "broker"}, "host": {"broker", "brokers"}, "url": {"broker", "path"}, "uri": {"broker", "path"}, "address": {"broker", "brokers", "listen"},
	"addr": {"broker", "listen"}, "endpoint": {"broker", "brokers"},
	"ssl": {"tls"}, "ca_file": {"ca"}, "cafile": {"ca"}, "ca_cert": {"ca"}, "tls_ca": {"ca"}, "truststore": {"ca"}, "root_ca": {"ca"},
	"cert_file": {"cert"}, "certfile": {"cert"}, "certificate": {"cert"}, "tls_cert": {"cert"}, "key_file": {"key"}, "keyfile": {"key"}, "private_key": {"key"}, "tls_key": {"key"},
	"sni": {"server_name"}, "hostname": {"server_name", "device", "broker"},
	"user": {"username"}, "login": {"username"}, "benutzer": {"username"}, "utilisateur": {"username"}, "usuario": {"username"},
	"security_protocol": {"tls"}, "security": {"tls"}, "compression": {"codec"}, "compression_type": {"codec"}, "topic": {"events"},
	"subscribe": {"topics"}, "subscriptions": {"topics"}, "filter": {"topic"}, "keepalive": {"keep_alive"},
	"json_path": {"pointer"}, "jsonpath": {"pointer"}, "json": {"pointer"}, "field": {"pointer"}, "value": {"pointer"}, "key": {"pointer"},
	"tag": {"channel"}, "signal": {"channel"}, "sensor": {"channel"}, "kanal": {"channel"}, "canal": {"channel"}, "messstelle": {"channel"},
	"einheit": {"unit"}, "unité": {"unit"}, "unite": {"unit"}, "unidad": {"unit"}, "uom": {"unit"},
	"factor": {"scale"}, "gain": {"scale"}, "multiplier": {"scale"}, "timestamp": {"time"}, "zeit": {"time"}, "interval_ms": {"interval"}, "period": {"interval", "every"},
	"file": {"path"}, "filename": {"path"}, "tail": {"follow"}, "folder": {"dir"}, "directory": {"dir"}, "path": {"dir"},
	"hihi": {"high_high"}, "hh": {"high_high"}, "hi": {"high"}, "h": {"high"}, "lo": {"low"}, "l": {"low"}, "lolo": {"low_low"}, "ll": {"low_low"},
	"max": {"high", "range_high"}, "maximum": {"high", "range_high"}, "min": {"low", "range_low"}, "minimum": {"low", "range_low"},
	"alarm": {"high", "high_high"}, "warning": {"high"}, "trip": {"high_high"}, "deadband": {"hysteresis"}, "dead_band": {"hysteresis"}, "hysterese": {"hysteresis"},
	"delay": {"on_delay"}, "on": {"on_delay"}, "off": {"off_delay"}, "priority": {"severity"}, "timeout": {"silent_after"}, "stale_after": {"silent_after"},
	"name": {"device"}, "id": {"device", "client_id"}, "gateway": {"device"}, "plant": {"site"}, "werk": {"site"}, "usine": {"site"}, "planta": {"site"}, "linie": {"line"}, "company": {"enterprise"},
	"port": {"listen"}, "reload": {"watch"}, "queue": {"buffer"}, "retention": {"max_age"}, "method": {"detectors"}, "methods": {"detectors"},
}

// otherName is the key of a table that a word from elsewhere means, or "".
func otherName(word string, keys []string) string {
	for _, name := range otherNames[strings.NewReplacer("-", "_", " ", "_").Replace(word)] {
		if slices.Contains(keys, name) {
			return name
		}
	}
	return ""
}

// isSecretName reports whether a key, in small letters, asks for a secret itself.
func isSecretName(key string) bool {
	for _, word := range []string{"passw", "secret", "token", "api_key", "apikey", "kennwort", "geheim", "mot_de_passe", "contrase", "clave", "credential", "jaas"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return key == "pwd" || key == "pw" || key == "pass"
}
