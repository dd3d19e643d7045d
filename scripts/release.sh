#!/usr/bin/env bash
# Builds what a release consists of, into build/release: the program for linux/amd64 and
# linux/arm64, the Grafana plugin, software bills of materials, and SHA256SUMS of them all.
# The same commit, Go and C compilers are meant to give the same bytes, wherever they are built
# (make release-check): SOURCE_DATE_EPOCH, by default the time of the commit, is the time of
# every file.
#
#   scripts/release.sh
#
# The program needs cgo, so another architecture needs a cross compiler: on Debian
# gcc-aarch64-linux-gnu or gcc-x86-64-linux-gnu. What cannot be built is named with its reason.
# PLATFORMS are those of the plugin's backend.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=${VERSION:?VERSION is not set: run make release}
out=build/release
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C
skipped=()
rm -rf "$out"
mkdir -p "$out"

# pack ARCHIVE FOLDER packs a folder the same way each time.
pack() {
  tar --create --sort=name --format=gnu --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
    --directory "$(dirname "$2")" "$(basename "$2")" | gzip --no-name -9 >"$1"
}

# program ARCHITECTURE COMPILER builds and packs the program.
program() {
  local name=plancast-$version-linux-$1 folder
  folder=build/$name
  if ! command -v "$2" >/dev/null; then
    skipped+=("linux/$1: there is no $2")
    return
  fi
  rm -rf "$folder"
  mkdir -p "$folder"
  CGO_ENABLED=1 GOOS=linux GOARCH=$1 REAL_CC=$2 make --no-print-directory build VERSION="$version" BIN="$folder/plancast"
  cp LICENSE README.md docs/licences.md "$folder"
  if [[ $1 == "$(go env GOHOSTARCH)" ]]; then "$folder/plancast" --version | head -n 1
  elif command -v "qemu-${2%%-*}-static" >/dev/null; then "qemu-${2%%-*}-static" -L "/usr/${2%-gcc}" "$folder/plancast" --version | head -n 1
  else skipped+=("running linux/$1: this machine has no such processor, nor qemu-user-static"); fi
  pack "$out/$name.tar.gz" "$folder"
}

compiler() { # ARCHITECTURE TRIPLE
  if [[ $1 == "$(go env GOHOSTARCH)" ]]; then echo gcc; else echo "$2-gcc"; fi
}

program amd64 "$(compiler amd64 x86_64-linux-gnu)"
program arm64 "$(compiler arm64 aarch64-linux-gnu)"

if command -v npm >/dev/null; then
  # Without the variables of the make around: the plugin has a version of its own.
  MAKEFLAGS='' CI=1 make --no-print-directory -C grafana-plugin zip RELEASE=1 ${PLATFORMS:+PLATFORMS="$PLATFORMS"}
  cp grafana-plugin/build/*.zip "$out"
else
  skipped+=("the plugin: npm is not installed")
fi

VERSION=$version BIN="build/plancast-$version-linux-$(go env GOHOSTARCH)/plancast" scripts/sbom.sh
cp build/sbom-*.json "$out"
sums=$(cd "$out" && sha256sum -- *)
tee "$out/SHA256SUMS" <<<"$sums"
for s in "${skipped[@]}"; do echo "skipped: $s"; done
