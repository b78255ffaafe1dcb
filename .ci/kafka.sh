#!/bin/bash
# A real single-node Apache Kafka (KRaft) for tests, on loopback only. Needs Java 17, Maven, openssl.
#   kafka.sh jars           fetches the broker from Maven Central into $KAFKA_JARS
#   kafka.sh start DIR      certificates, format, start, wait until ready; a second start keeps the data
#   kafka.sh stop  DIR      SIGTERM, SIGKILL after 20 s
#   kafka.sh kill  DIR      SIGKILL: a crash
# Ports, from $KAFKA_PORT (29092): plain +0; mutual TLS +1; TLS with SCRAM-SHA-512, user edge / edge-secret, +2; controller +3;
# plain +4, which says of itself that it is +5: a test that listens on +5 and forwards to +4 stands between agent and broker.
set -euo pipefail
verb=${1:?jars|start|stop|kill}
version=${KAFKA_VERSION:-4.4.0} log4j=2.25.5 port=${KAFKA_PORT:-29092} heap=${KAFKA_HEAP:-256m}
jars=${KAFKA_JARS:-$HOME/.cache/kafka-test/$version}
if [ "$verb" != jars ]; then
  mkdir -p "${2:?DIR}"
  dir=$(cd "$2" && pwd)
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

jars() {
  [ ! -e "$jars/.done" ] || return 0
  local pom
  pom=$(mktemp -d)
  mkdir -p "$jars"
  dependency() { echo "<dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>"; }
  cat >"$pom/pom.xml" <<END
<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>test</artifactId><version>1</version><packaging>pom</packaging><dependencies>
$(dependency org.apache.kafka kafka_2.13 "$version")
$(dependency org.apache.logging.log4j log4j-slf4j-impl $log4j)
$(dependency org.apache.logging.log4j log4j-core $log4j)
</dependencies></project>
END
  mvn -q -B -f "$pom/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$jars" >&2
  rm -rf "$jars"/slf4j-reload4j* "$pom"
  touch "$jars/.done"
}

configure() {
  printf '%s\n' appender.c.type=Console appender.c.name=C appender.c.layout.type=PatternLayout \
    'appender.c.layout.pattern=%d{ISO8601} %p %m (%c)%n' rootLogger.level=INFO rootLogger.appenderRef.c.ref=C >"$dir/log4j2.properties"
  cat >"$dir/server.properties" <<END
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 3))
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
listeners=PLAIN://127.0.0.1:$port,MTLS://127.0.0.1:$((port + 1)),SCRAM://127.0.0.1:$((port + 2)),CONTROLLER://127.0.0.1:$((port + 3)),VALVE://127.0.0.1:$((port + 4))
advertised.listeners=PLAIN://127.0.0.1:$port,MTLS://127.0.0.1:$((port + 1)),SCRAM://127.0.0.1:$((port + 2)),VALVE://127.0.0.1:$((port + 5))
listener.security.protocol.map=PLAIN:PLAINTEXT,MTLS:SSL,SCRAM:SASL_SSL,CONTROLLER:PLAINTEXT,VALVE:PLAINTEXT
ssl.keystore.type=PEM
ssl.keystore.location=$dir/certs/broker-keystore.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/certs/ca.pem
listener.name.mtls.ssl.client.auth=required
listener.name.scram.ssl.client.auth=none
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.scram.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs=$dir/data
auto.create.topics.enable=false
# A broker that comes back after a crash would wait 9 s for its own former session.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=250
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=8388608
$(for topic in offsets.topic transaction.state.log share.coordinator.state.topic; do
    printf '%s\n' $topic.num.partitions=1 $topic.replication.factor=1 $topic.min.isr=1
  done)
${KAFKA_EXTRA:-}
END
}

jvm() {
  exec java -Xshare:auto -Xms64m -Xmx"$heap" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
    -Dlog4j2.configurationFile="$dir/log4j2.properties" -cp "$jars/*" "$@"
}

format() {
  [ ! -e "$dir/data/meta.properties" ] || return 0
  if ! (jvm kafka.tools.StorageTool format -t tocsintestAAAAAAAAAAAA -c "$dir/server.properties" \
    --add-scram 'SCRAM-SHA-512=[name=edge,password=edge-secret]') >"$dir/format.log" 2>&1; then
    cat "$dir/format.log" >&2
    exit 1
  fi
}

start() {
  jars
  "$here/certs.sh" "$dir/certs"
  configure
  format
  (jvm kafka.Kafka "$dir/server.properties") >"$dir/kafka.log" 2>&1 </dev/null &
  local pid=$!
  echo $pid >"$dir/pid"
  for _ in $(seq 600); do
    if grep -q 'Kafka Server started' "$dir/kafka.log"; then return; fi
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
  done
  tail -40 "$dir/kafka.log" >&2
  end KILL
  exit 1
}

end() {
  [ -e "$dir/pid" ] || return 0
  local pid
  pid=$(<"$dir/pid")
  kill -"$1" "$pid" 2>/dev/null || true
  for _ in $(seq 200); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$dir/pid"
}

case $verb in
jars) jars ;;
start) start ;;
stop) end TERM ;;
kill) end KILL ;;
*) echo "kafka.sh: no such verb: $verb" >&2; exit 2 ;;
esac
