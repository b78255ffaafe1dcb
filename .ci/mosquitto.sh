#!/bin/bash
# A real Mosquitto for tests, on loopback only.
#   mosquitto.sh start DIR CERTS    starts it and waits until it listens; a second start keeps sessions and what waits in them
#   mosquitto.sh stop  DIR          SIGTERM, on which it writes them down
# Ports: anonymous $MQTT_PORT (31883), TLS with user edge / edge-secret +1, mutual TLS +2.
set -euo pipefail
verb=${1:?start|stop} port=${MQTT_PORT:-31883}
mkdir -p "${2:?DIR}"
dir=$(cd "$2" && pwd)

start() {
  local certs
  certs=$(cd "${1:?CERTS}" && pwd)
  mosquitto_passwd -b -c "$dir/passwd" edge edge-secret
  chmod 600 "$dir/passwd"
  cat >"$dir/mosquitto.conf" <<END
per_listener_settings true
user root
persistence true
persistence_location $dir/
log_dest file $dir/mosquitto.log
# An agent that is killed leaves readings behind; they wait here for its return.
max_queued_messages 100000
listener $port 127.0.0.1
allow_anonymous true
listener $((port + 1)) 127.0.0.1
allow_anonymous false
password_file $dir/passwd
certfile $certs/broker.pem
keyfile $certs/broker.key
listener $((port + 2)) 127.0.0.1
allow_anonymous true
require_certificate true
cafile $certs/ca.pem
certfile $certs/broker.pem
keyfile $certs/broker.key
END
  mosquitto -c "$dir/mosquitto.conf" >"$dir/out.log" 2>&1 </dev/null &
  local pid=$!
  echo $pid >"$dir/pid"
  for _ in $(seq 100); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$((port + 2))") 2>/dev/null; then return; fi
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
  done
  cat "$dir"/{out,mosquitto}.log >&2
  stop
  exit 1
}

stop() {
  [ -e "$dir/pid" ] || return 0
  local pid
  pid=$(<"$dir/pid")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 200); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.05
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
}

case $verb in
start) start "${3:?CERTS}" ;;
stop) stop ;;
*) echo "mosquitto.sh: no such verb: $verb" >&2; exit 2 ;;
esac
