#!/usr/bin/env bash
# Builds Mimir and Thanos from their sources in the Go module proxy, pinned and checksummed, for
# the tests against them (make stores-test): Debian has no packages of them. The first time takes
# 12 minutes of processor time and 6 GB of disk; after that, the programs lie in the cache.
#
#   eval "$(scripts/stores.sh)"
#
# Progress goes to stderr, and to stdout shell assignments:
#
#   PLANCAST_MIMIR, PLANCAST_THANOS   the programs
#
# A program that is named there already is not built. What this machine cannot build ends with
# "skipped: REASON" and status 77.
set -euo pipefail

# Mimir's releases are tagged mimir-X, which is no version of a module: this is a commit of its main branch.
readonly mimir=github.com/grafana/mimir@v1.3.1-0.20260423142704-aced80d74930
readonly mimir_sum=h1:uegeb+I1faUHNHi8rBl+hJpdaYB2DGlZdZsu1gV7lk0=
readonly thanos=github.com/thanos-io/thanos@v0.42.4
readonly thanos_sum=h1:Cs7iARVNKcgewjzAfpoFnscgfNi+XN8slcyW5e0ozWs=

cache=${PLANCAST_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set it, or PLANCAST_CACHE}/.cache}/plancast}/stores
started=$SECONDS
say() { printf 'stores: [%3d s] %s\n' "$((SECONDS - started))" "$*" >&2; }
die() { printf 'stores: %s\n' "$@" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*" >&2; exit 77; }

# field NAME prints a field of the JSON that go mod download printed.
field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\{0,1\}\$/\1/p" <<<"${downloaded//\\u003e/>}"; }

# build NAME MODULE SUM [FLAG...] builds a program, where it is not there, and prints its path.
build() {
  local name=$1 module=$2 sum=$3 program work downloaded error
  program=$cache/$name-${module##*@}
  shift 3
  if [[ ! -x $program ]]; then
    command -v go >/dev/null || skip "$name: there is no Go to build it with"
    (($(df --output=avail -k "$cache" | tail -1) > 8000000)) || die "$cache has less than 8 GB free, which building $name takes: free some space or set PLANCAST_CACHE to another disk"
    say "building $module, which takes minutes"
    work=$(mktemp -d "$cache/.building-XXXXXX")
    # A module with replace directives cannot be installed: its source becomes the main module.
    downloaded=$(cd "$work" && GOFLAGS=-mod=mod go mod download -json "$module") || true
    error=$(field Error)
    [[ $error != *"requires go "* ]] || skip "$name: $error"
    [[ -z $error ]] || die "$module cannot be downloaded: $error"
    [[ $(field Sum) == "$sum" ]] || die "$module has the checksum $(field Sum), not $sum"
    cp -r --no-preserve=mode "$(field Dir)" "$work/source"
    (cd "$work/source" && CGO_ENABLED=0 nice go build -p "${STORES_JOBS:-2}" -trimpath -ldflags='-s -w' "$@" -o "$work/program" "./cmd/$name") >&2 ||
      die "$module cannot be built (see above)"
    mv "$work/program" "$program"
    rm -rf "$work"
    say "$name is at $program"
  fi
  echo "$program"
}

mkdir -p "$cache" || die "cannot create the cache folder $cache; set PLANCAST_CACHE to a folder you may write"
exec 9>"$cache/.lock"
flock 9
trap 'rm -rf "$cache"/.building-*' EXIT
PLANCAST_MIMIR=${PLANCAST_MIMIR:-$(build mimir "$mimir" "$mimir_sum" -tags=netgo,stringlabels)}
PLANCAST_THANOS=${PLANCAST_THANOS:-$(build thanos "$thanos" "$thanos_sum" -tags=netgo,slicelabels)}
printf 'export %s=%q\n' PLANCAST_MIMIR "$PLANCAST_MIMIR" PLANCAST_THANOS "$PLANCAST_THANOS"
