#!/usr/bin/env bash
# Every performance figure of plancast in one run, as ratios. Called by make
# bench, which has built bin/plancast and set the PLANCAST_ variables. Run it on
# an idle machine; it takes about an hour, most of it for the part noise. BENCH selects parts by name:
#   BENCH="latency workload decode noise scan scrape daemon long history forecast plugin" make bench
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wanted=${BENCH:-latency workload decode noise scan scrape daemon long history forecast plugin}
part() { [[ " $wanted " == *" $1 "* ]] && printf '\n== %s\n' "$2"; }

printf 'machine: %s, %s cores, load %s\n' "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(cut -d' ' -f1 /proc/loadavg)"
printf 'plancast %s, %s\n' "$(git describe --tags --always --dirty)" "$(go version)"

if part latency "latency against ONNX Runtime's own Python API, same model, same threads, inputs and outputs bound, in turns (aim: within 2 % at P50)"; then
  # Models that the Python package onnx ships, and the demo's smallest, which takes less
  # than 0.1 ms.
  light=$("$PLANCAST_PYTHON" -c 'import onnx, pathlib; print(pathlib.Path(onnx.__file__).parent / "backend/test/data/light")')
  go run ./bench/peer -python "$PLANCAST_PYTHON" -threads 1 -queries 60 -rounds 8 \
    "$light/light_resnet50.onnx" "$light/light_shufflenet.onnx" "$light/light_squeezenet.onnx" || echo "outside the target, or the machine was not idle"
  small=$(find "${PLANCAST_CACHE:-.cache}/models/digit-reader" -name model.onnx | sort | head -n 1)
  [[ -z $small ]] || go run ./bench/peer -python "$PLANCAST_PYTHON" -threads 1 -queries 5000 -rounds 8 "$small" || echo "outside the target, or the machine was not idle"
fi
if part workload "traffic: waiting in a queue, the search for the highest rate, punctual starts, and what an open loop far below capacity adds to a call, each with its target; about nine minutes"; then
  go run ./bench/workload || echo "a target was missed, or the machine was not idle"
fi
if part noise "what is claimed when nothing changed, and found when something did: idle, beside neighbors and bursts of its own"; then
  go run ./bench/noise || echo "a target was missed, or the machine was not idle"
  echo "the same engines on as many threads as cores, which take turns:"
  go run ./bench/noise -threads "$(nproc)" -trials idle -candidates 20 || echo "a target was missed, or the machine was not idle"
fi
if part decode "a decode step with the cache left in place against the plain call, which copies it: ONNX Runtime, a decoder of 4 layers, 8 heads of 64"; then
  model=$(mktemp -d)/decoder.onnx
  "$PLANCAST_PYTHON" scripts/decoder_model.py --layers 4 --heads 8 --head-size 64 --vocabulary 8000 --positions 4096 "$model"
  go run ./bench/decode -past 128,512,2048 "$model"
  rm -r "$(dirname "$model")"
fi
if part scan "a scan of 2,000 unchanged versions (aim: under 1 s)"; then
  go test -run '^$' -bench 'ScanUnchanged2000' ./exporter/candidate | grep -E '^Benchmark'
fi
if part scrape "10,000 scrapes of 300 models x 3 precisions (aim: P99 under 50 ms, no growth), and plain promhttp as the peer"; then
  go test -run '^$' -bench 'Scrape300x3/^(text|openmetrics|protobuf)$' -benchtime=10000x ./exporter/metrics | grep -E '^Benchmark'
  go test -run '^$' -bench 'Scrape300x3/^promhttp-text$' -benchtime=100x ./exporter/metrics | grep -E '^Benchmark'
fi
if part daemon "the idle daemon with 300 models x 3 precisions (aim: under 80 MB resident)"; then
  go run ./bench/daemon -plancast bin/plancast -iterations 1
fi
if part history "a history of 1,000,000 records: 300 models, 3 precisions, a candidate a day for three years"; then
  go run ./bench/history -plancast bin/plancast
fi
if part forecast "the forecast of 1,000 series x 200 iterations (aim: under 1 s), against Prophet and AutoETS (aim: 100 times faster), and of all series together (aim: under 0.3 s)"; then
  PLANCAST_CACHE=${PLANCAST_CACHE:-.cache} forecast/bench/run.sh
fi
if part long "the state after a record, with a history of 1,000,000 (aim: under 200 ms of processor time, which is 100 ms on two cores)"; then
  go test -run '^$' -bench LongHistory -benchtime=100x ./exporter/standing | grep -E '^Benchmark'
fi
if part plugin "the Grafana plugin: a joint milestone of 1,000 series x 200 (aim: under 300 ms), one series (aim: under 2 ms), 100 dashboards at once (aim: under 300 MB), a year at 15 s against its raw samples"; then
  make --no-print-directory -C grafana-plugin bench | grep -E '^Benchmark'
fi
