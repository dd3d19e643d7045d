#!/usr/bin/env bash
# Looks for known vulnerabilities in the Go modules (govulncheck: only what the
# program can reach) and in the plugin's packages (npm audit). Ends with 1 when
# there is one. Where a database cannot be reached it prints "skipped: REASON".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
found=0

go_module() { # FOLDER
  local status=0
  (cd "$1" && go run "$govulncheck" ./...) >"$log" 2>&1 || status=$?
  if ((status == 0)); then
    echo "govulncheck $1: no known vulnerabilities"
  elif grep -qE 'fetching vulnerabilities|no such host|dial tcp|i/o timeout' "$log"; then
    echo "skipped: govulncheck $1: $(grep -vE '^(go: downloading|exit status|$)' "$log" | tail -n 1 | cut -c1-200)"
  else
    cat "$log"
    found=1
  fi
}

go_module .
go_module deploy

if ! command -v npm >/dev/null; then
  echo "skipped: npm audit: npm is not installed"
elif (cd grafana-plugin && npm audit --omit=dev --audit-level=moderate) >"$log" 2>&1; then
  echo "npm audit: no known vulnerabilities"
elif grep -q 'audit endpoint returned an error' "$log" || ! grep -qi 'severity' "$log"; then
  echo "skipped: npm audit: $(grep -E 'npm (warn|error)' "$log" | head -n 1 | sed -E 's#https?://[^ ]+#the registry#' | cut -c1-200)"
else
  cat "$log"
  found=1
fi
exit "$found"
