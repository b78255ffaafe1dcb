#!/bin/bash
# Makes the test certificates that Kafka and Mosquitto share, PEM, once.
#   certs.sh DIR    DIR/{ca.pem, broker.pem, broker.key, client.pem, client.key, broker-keystore.pem}
set -euo pipefail
mkdir -p "${1:?certs.sh DIR}"
cd "$1"
[ ! -e .done ] || exit 0

openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=tocsin-test-ca -keyout ca.key -out ca.pem 2>/dev/null
for name in broker client; do
  openssl req -newkey rsa:2048 -nodes -subj /CN=$name -keyout $name.key -out $name.csr 2>/dev/null
  printf '%s\n' subjectAltName=DNS:localhost,IP:127.0.0.1 extendedKeyUsage=serverAuth,clientAuth >$name.ext
  openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile $name.ext -out $name.pem 2>/dev/null
done
cat broker.key broker.pem ca.pem >broker-keystore.pem # Kafka wants key and chain in one file
touch .done
