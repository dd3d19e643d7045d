#!/usr/bin/env bash
# Writes prometheusrule.yaml from alerts/plancast.rules.yml and dashboards.yaml from dashboards/, so that a cluster loads the
# very files that are tested. A test says when one is out of date.
#
#   deploy/kubernetes/generate.sh [--check] [GRAFANA_URL]
#
# GRAFANA_URL takes the place of http://localhost:3000 in the links; --check compares and writes nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

check=false
if [[ ${1-} == --check ]]; then
  check=true
  shift
fi
readonly grafana=${1:-http://localhost:3000}

prometheusrule() {
  cat <<'HEADER'
# Generated from alerts/plancast.rules.yml by deploy/kubernetes/generate.sh. Change the rules there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: plancast
  namespace: plancast
  labels: {app.kubernetes.io/name: plancast} # add what your Prometheus selects by, such as release: kube-prometheus-stack
spec:
HEADER
  # From "groups:" on, two columns further in; lines that are empty stay empty.
  sed -n '/^groups:/,$p' ../../alerts/plancast.rules.yml | sed -e "s|http://localhost:3000|${grafana%/}|g" -e 's/^\(.\)/  \1/'
}

dashboards() {
  echo '# Generated from dashboards/ by deploy/kubernetes/generate.sh. Change the dashboards there.'
  local file name separator=''
  for file in ../../dashboards/*.json; do
    name=$(basename "$file" .json)
    cat <<HEADER
${separator}apiVersion: v1
kind: ConfigMap
metadata:
  name: plancast-dashboard-$name
  namespace: plancast
  labels: {app.kubernetes.io/name: plancast, grafana_dashboard: "1"} # the label that Grafana's sidecar looks for
  annotations: {grafana_folder: plancast}
data:
  plancast-$name.json: |
HEADER
    sed -e 's/^\(.\)/    \1/' "$file"
    separator=$'---\n'
  done
}

for what in prometheusrule dashboards; do
  if $check; then
    diff -u "$what.yaml" <("$what") || { echo "deploy/kubernetes/$what.yaml is out of date: run deploy/kubernetes/generate.sh" >&2; exit 1; }
  else
    "$what" >"$what.yaml.new"
    mv "$what.yaml.new" "$what.yaml"
  fi
done
