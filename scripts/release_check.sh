#!/usr/bin/env bash
# Builds the release of the current commit twice, in fresh clones in two folders, the second
# without what Go has compiled before, and compares the bytes of every artifact. Prints the
# checksums, and "skipped: REASON" for what could not be built.
#
#   scripts/release_check.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

commit=$(git rev-parse HEAD) # which may move meanwhile
work=$(mktemp -d "${TMPDIR:-/tmp}/plancast-release-XXXXXX")
trap 'rm -rf "$work"' EXIT
first=$work/a second=$work/a/longer/path/for/the/second

# build FOLDER clones the commit and builds its release there.
build() {
  git clone --quiet --no-hardlinks --no-checkout . "$1/plancast"
  git -C "$1/plancast" checkout --quiet --detach "$commit"
  make --no-print-directory -C "$1/plancast" release >"$1/log" 2>&1 || {
    tail -n 30 "$1/log" >&2
    exit 1
  }
}

mkdir -p "$first" "$second"
build "$first"
GOCACHE=$work/cache build "$second"
sed -n '/^skipped: /p' "$second/log"
if ! diff --unified=0 "$first/plancast/build/release/SHA256SUMS" "$second/plancast/build/release/SHA256SUMS"; then
  echo "release check: two builds of ${commit:0:7} differ in the artifacts above" >&2
  exit 1
fi
cat "$first/plancast/build/release/SHA256SUMS"
