#!/usr/bin/env bash
# The demo: prepares real models, measures them on this machine, prints the
# report and serves it until interrupted. Called by make demo; it builds plancast
# itself, beside the set-up.
#
#   DEMO_DIR      where configuration and results lie      (build/demo)
#   DEMO_ADDRESS  where the report is served               (localhost:9833)
#   DEMO_BACKLOG  older versions measured of each model    (10: all)
#   DEMO_ONCE     1: end once everything is measured       (serve on)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly dir=${DEMO_DIR:-build/demo} address=${DEMO_ADDRESS:-localhost:9833}

# On a fresh machine both take a minute or more, so they go together.
make --no-print-directory build &
build=$!
variables=$(scripts/setup.sh --demo) || { kill "$build" 2>/dev/null; exit 1; }
eval "$variables"
wait "$build"
mkdir -p "$dir"
ln -sfn "${PLANCAST_DEMO_REPOSITORY:?}" "$dir/models"
sed "s/backlog: 10/backlog: ${DEMO_BACKLOG:-10}/" demo/plancast.yml >"$dir/plancast.yml"

bin/plancast check --config.file="$dir/plancast.yml"
echo
echo "Measuring. The report is at http://$address/ and refreshes automatically."
bin/plancast serve --config.file="$dir/plancast.yml" --web.listen-address="$address" &
server=$!
trap 'kill "$server" 2>/dev/null; wait "$server" 2>/dev/null' EXIT
trap 'exit 130' INT TERM

# fetch prints a page of the daemon, without depending on curl.
fetch() { "${PLANCAST_PYTHON:?}" -c 'import sys, urllib.request as u; sys.stdout.write(u.urlopen(sys.argv[1], timeout=10).read().decode())' "http://$address$1"; }
# done_measuring: a pass has ended, nothing runs and nothing waits.
done_measuring() { fetch /api/v1/report 2>/dev/null | "$PLANCAST_PYTHON" -c '
import json, sys
r = json.load(sys.stdin)
waiting = [v for m in r["models"] for v in m.get("waiting") or []]
sys.exit(not (r["models"] and r.get("last_pass") and not r["running"] and not r["queue"] and not waiting))'; }

until done_measuring; do
  kill -0 "$server" 2>/dev/null || { wait "$server"; exit; }
  sleep 5 # each question starts a Python, which the measurements would notice
done
echo
fetch '/api/v1/report?format=text'
echo
echo "All models are measured. The report: http://$address/   the metrics: http://$address/metrics"
[[ ${DEMO_ONCE:-} != 1 ]] || exit 0
echo "Serving until interrupted (Ctrl-C)."
wait "$server"
