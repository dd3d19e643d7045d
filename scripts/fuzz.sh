#!/usr/bin/env bash
# Fuzzes every target for the time given (10s): scripts/fuzz.sh [TIME]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-10s}
git grep -nE '^func Fuzz[A-Za-z0-9_]*\(' -- '*_test.go' | sed -E 's|^(.*)/[^/]+:[0-9]+:func (Fuzz[A-Za-z0-9_]*)\(.*|\1 \2|' |
  while read -r package target; do
    echo "fuzz: ./$package $target for $time"
    go test "./$package" -run '^$' -fuzz "^$target\$" -fuzztime "$time" >/tmp/fuzz.$$ 2>&1 || { cat /tmp/fuzz.$$; rm -f /tmp/fuzz.$$; exit 1; }
    tail -n 2 /tmp/fuzz.$$ | head -n 1
    rm -f /tmp/fuzz.$$
  done
