# What .ci/run and .ci/long share: stages, servers, and the tests that may be skipped.
# Sourced, from the repository's top. Whoever sources it fills the array command: a stage's name, what it runs.
set -uo pipefail
exec </dev/null
export CI=true DEBIAN_FRONTEND=noninteractive GOFLAGS=
# Below the ports that Linux gives to outgoing connections (ip_local_port_range): a broker that is started again needs its own.
export KAFKA_PORT=${KAFKA_PORT:-29092} MQTT_PORT=${MQTT_PORT:-31883}
LINT=github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

work=$(mktemp -d /tmp/gate.XXXXXX)
export TMPDIR=$work/tmp # what a killed test leaves goes with the rest
mkdir "$TMPDIR"
summary=() failed=0
trap 'servers_down; umount -l "$TMPDIR"/tocsin-disk* 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# stage NAME COMMAND... runs one stage and keeps its line. A stage that passes shows what go test said of each package;
# one that fails shows everything.
stage() {
  local name=$1 log=$work/$1.log start=$SECONDS verdict=ok line
  shift
  echo "== $name"
  (set -e; "$@") >"$log" 2>&1 # not in a condition: bash would forget set -e
  if [ $? -eq 0 ]; then
    grep -E '^(ok  |note: | +[a-z]+_test.go:[0-9]+: (anomalies|soak:))' "$log"
  else
    verdict=FAILED failed=1
    cat "$log"
  fi
  line=$(printf 'stage %-8s %s %.1f min' "$name" $verdict "$(((SECONDS - start) * 10 / 6))e-2")
  summary+=("$line")
  echo "$line"
}

# run_stages ALL... -- [SOME...] runs what the array command holds for all stages, or for some, prints every stage's line
# and ends the run.
run_stages() {
  local all=() name
  while [ "$1" != -- ]; do all+=("$1"); shift; done
  shift
  [ $# -gt 0 ] || set -- "${all[@]}"
  for name; do
    [ -n "${command[$name]-}" ] || { echo "$0: no stage $name; there are ${all[*]}" >&2; exit 2; }
  done
  stage tools tools
  if [ $failed = 0 ]; then
    for name; do stage "$name" ${command[$name]}; done
  fi
  echo
  printf '%s\n' "${summary[@]}"
  printf 'total %.1f min\n' "$((SECONDS * 10 / 6))e-2"
  exit $failed
}

# tools installs what a plain Debian lacks and fetches the modules and the Kafka broker.
tools() {
  local missing=() pair
  for pair in mosquitto:mosquitto qemu-arm-static:qemu-user-static openssl:openssl gcc:gcc git:git; do
    command -v "${pair%:*}" || missing+=("${pair#*:}")
  done
  [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev) # the race detector links with C
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
  fi
  # Debian starts the Mosquitto it has just installed; the tests bring their own.
  if [[ " ${missing[*]-} " = *" mosquitto "* ]]; then service mosquitto stop || true; fi
  go mod download
  go build -o "$work/gotest" .ci/gotest.go
  .ci/kafka.sh jars
}

servers_up() {
  .ci/kafka.sh start "$work/kafka"
  .ci/mosquitto.sh start "$work/mosquitto" "$work/kafka/certs"
}

servers_down() {
  local kafka
  for kafka in kafka forgetful; do
    [ ! -e "$work/$kafka" ] || .ci/kafka.sh stop "$work/$kafka"
  done
  [ ! -e "$work/mosquitto" ] || .ci/mosquitto.sh stop "$work/mosquitto"
}

# with_servers runs a command that finds the real servers in its environment.
with_servers() {
  [ -e "$work/mosquitto/pid" ] || servers_up
  TOCSIN_TEST_KAFKA=127.0.0.1:$KAFKA_PORT TOCSIN_TEST_KAFKA_SSL=127.0.0.1:$((KAFKA_PORT + 1)) \
    TOCSIN_TEST_KAFKA_SASL=127.0.0.1:$((KAFKA_PORT + 2)) TOCSIN_TEST_KAFKA_DIR=$work/kafka \
    TOCSIN_TEST_KAFKA_VALVE=127.0.0.1:$((KAFKA_PORT + 5)),127.0.0.1:$((KAFKA_PORT + 4)) \
    TOCSIN_TEST_MQTT=tcp://127.0.0.1:$MQTT_PORT TOCSIN_TEST_MQTT_DIR=$work/mosquitto TOCSIN_TEST_MQTT_TLS=tls://127.0.0.1:$((MQTT_PORT + 1)) \
    TOCSIN_TEST_MQTT_MTLS=tls://127.0.0.1:$((MQTT_PORT + 2)) TOCSIN_TEST_CERTS=$work/kafka/certs "$@"
}

# gotest STAGE ARGS... is go test that also fails for a skipped test which .ci/skips does not list for the stage.
gotest() { "$work/gotest" "$@"; }

# fuzz SECONDS shares the time among all the fuzz targets there are.
fuzz() {
  go test -list '^Fuzz' ./... | awk '/^Fuzz/ { target[++n] = $1 } $1 == "ok" { while (n) print $2, target[n--] }' >"$work/targets"
  local package target status=0 each=$(($1 / $(wc -l <"$work/targets") + 1))
  while read -r package target; do
    echo "note: $each s of $package $target"
    # Go calls a target that was starved at its end failed; what really fails is in testdata by then, and fails again.
    go test -run '^$' -fuzz "^$target\$" -fuzztime ${each}s "$package" ||
      go test -run "^$target\$" -fuzz "^$target\$" -fuzztime ${each}s "$package" || status=1
  done <"$work/targets"
  return $status
}
