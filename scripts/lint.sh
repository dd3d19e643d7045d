#!/usr/bin/env bash
# Checks the form of everything. A tool that is missing is reported; with
# LINT_REQUIRE=1, as in continuous integration, it is an error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
missing() {
  echo "lint: skipped $1: it is not installed ($2)" >&2
  [[ ${LINT_REQUIRE:-} != 1 ]] || failed=1
}
have() { command -v "$1" >/dev/null; }

unformatted=$(git ls-files '*.go' | xargs -r gofmt -l)
[[ -z $unformatted ]] || { echo "lint: gofmt would change: $unformatted" >&2; failed=1; }
go vet ./... || failed=1
go vet -tags gpu ./exporter/gpu || failed=1 # tests that only a GPU can run compile everywhere
if have golangci-lint; then golangci-lint run ./... || failed=1
else missing golangci-lint "go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0"; fi
if have shellcheck; then git ls-files '*.sh' .ci/run | xargs -r shellcheck || failed=1
else missing shellcheck "apt-get install shellcheck"; fi
if have ruff; then git ls-files '*.py' | xargs -r ruff check --quiet --config scripts/ruff.toml || failed=1
else missing ruff "pip install ruff"; fi
exit "$failed"
