#!/bin/sh
# Times plancast's forecast against Prophet and statsforecast's AutoETS. The
# peers are installed once, at pinned versions, under the cache folder.
set -eu
cd "$(dirname "$0")/../.."
venv=${PLANCAST_CACHE:-.cache}/forecast-bench
if ! [ -e "$venv/installed" ] || ! cmp -s forecast/bench/requirements.txt "$venv/installed"; then
	echo "installing the peers into $venv" >&2
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement forecast/bench/requirements.txt
	cp forecast/bench/requirements.txt "$venv/installed"
fi
exec go run ./forecast/bench -python "$venv/bin/python"
