#!/bin/bash
# Builds the agent for every gateway: static, stripped, the same bytes for the same sources whoever builds and wherever.
#   ./cross-build.sh [DIR [TARGET...]]    DIR (dist) gets tocsin-linux-TARGET and SHA256SUMS
# Targets: armv6 armv7 arm64 amd64 riscv64. $VERSION is what `tocsin version` says; by default what git describes.
set -euo pipefail
cd "$(dirname "$0")"
out=${1:-dist}
targets=("${@:2}")
[ ${#targets[@]} -gt 0 ] || targets=(armv6 armv7 arm64 amd64 riscv64)
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo unversioned)}
budget=12000000 # bytes of the ARMv6 binary: it has to fit the smallest gateway's flash twice

command -v go >/dev/null || { echo "cross-build: no Go here: install the version that go.mod names" >&2; exit 1; }
mkdir -p "$out"
out=$(cd "$out" && pwd)
export GOTOOLCHAIN=go$(awk '$1 == "go" { print $2 }' go.mod) # another Go would make other bytes
export CGO_ENABLED=0 GOOS=linux GOAMD64=v1 GOARM64=v8.0 GORISCV64=rva20u64 GOFLAGS=-mod=readonly GOEXPERIMENT=

printf 'tocsin %s\n%-8s %12s  %s\n' "$version" target bytes sha256
for target in "${targets[@]}"; do
  case $target in
  armv6 | armv7) export GOARCH=arm GOARM=${target#armv} ;;
  arm64 | amd64 | riscv64) export GOARCH=$target ;;
  *) echo "cross-build: no such target: $target; there are armv6 armv7 arm64 amd64 riscv64" >&2; exit 2 ;;
  esac
  file=$out/tocsin-linux-$target
  go build -trimpath -buildvcs=false -ldflags "-s -w -X tocsin/agent/cli.Version=$version" -o "$file" ./agent
  printf '%-8s %12d  %s\n' "$target" "$(stat -c %s "$file")" "$(sha256sum <"$file" | cut -c1-64)"
done
(cd "$out" && sha256sum tocsin-linux-* >SHA256SUMS)

if [ -e "$out/tocsin-linux-armv6" ] && [ "$(stat -c %s "$out/tocsin-linux-armv6")" -gt $budget ]; then
  echo "cross-build: the ARMv6 binary is over its budget of $budget bytes: see what grew with go version -m and go tool nm -size" >&2
  exit 1
fi
