#!/usr/bin/env bash
# Writes prometheusrule.yaml from alerts/plancast.rules.yml, so that the Prometheus operator loads the very rules that are
# tested. A test says when it is out of date.
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
readonly grafana=${1:-http://localhost:3000} target=prometheusrule.yaml

generate() {
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

if $check; then
  diff -u "$target" <(generate) || { echo "deploy/kubernetes/$target is out of date: run deploy/kubernetes/generate.sh" >&2; exit 1; }
else
  generate >"$target.new"
  mv "$target.new" "$target"
fi
