#!/usr/bin/env bash
# Writes what plancast is made of, as CycloneDX, into build/: of the program and the
# plugin's backend by what is linked into them, and of the plugin's front end by its
# lock file. Versions, hashes and licences; no times and no serial numbers, so that
# the same tree gives the same files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tool=github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
version=${VERSION:-0.1.0-dev}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p build

still() { # FILE: without what differs from run to run
  python3 -c '
import json, sys
bom = json.load(sys.stdin)
bom.pop("serialNumber", None)
bom["metadata"].pop("timestamp", None)
json.dump(bom, sys.stdout, indent=2)
print()' >"$1"
  echo "$1"
}

linked() { # NAME PROGRAM
  go run "$tool" bin -json -licenses -std -version "$version" "$2" | still "build/sbom-$1.json"
}

linked plancast "${BIN:-bin/plancast}"
CGO_ENABLED=0 go build -trimpath -o "$work/plugin" ./grafana-plugin/pkg
linked plugin-backend "$work/plugin"
if command -v npm >/dev/null; then
  # The lock file is installed with peers as they are.
  (cd grafana-plugin && npm sbom --package-lock-only --omit dev --legacy-peer-deps --sbom-format cyclonedx) | still build/sbom-plugin-frontend.json
else
  echo "skipped: the plugin's front end: npm is not installed"
fi
