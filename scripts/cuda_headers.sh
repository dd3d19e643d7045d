#!/usr/bin/env bash
# Brings the headers of CUDA 12.6 that TensorRT's need into plancast's cache and
# prints their folder. They come from two pinned and checked Python packages (22 MB);
# neither CUDA nor a GPU is needed to compile the binding.
#
#   CUDA_INCLUDE=$(scripts/cuda_headers.sh)
set -euo pipefail
cache=${PLANCAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plancast}
folder=$cache/cuda-12.6
if [[ ! -f $folder/.complete ]]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/.fetching-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # Debian's own python3 may have no pip; the environment of setup.sh has one.
  python=$cache/venv/bin/python
  if [[ ! -x $python ]]; then
    python3 -m venv "$work/venv"
    python=$work/venv/bin/python
  fi
  # The compiler's package has crt/, without which the runtime's headers do not compile.
  cat >"$work/requirements.txt" <<'EOF'
nvidia-cuda-runtime-cu12==12.6.77 --hash=sha256:ba3b56a4f896141e25e19ab287cd71e52a6a0f4b29d0d31609f60e3b4d5219b7
nvidia-cuda-nvcc-cu12==12.6.85 --hash=sha256:d75d9d74599f4d7c0865df19ed21b739e6cb77a6497a3f73d6f61e8038a765e4
EOF
  # Headers are the same for every processor; the checksums are these wheels'.
  "$python" -m pip --disable-pip-version-check --no-input download --quiet --require-hashes --no-deps \
    --only-binary :all: --platform manylinux2014_x86_64 --dest "$work" --requirement "$work/requirements.txt" >&2
  for wheel in "$work"/*.whl; do "$python" -m zipfile -e "$wheel" "$work/wheels"; done
  mkdir "$folder/include"
  cp -r "$work"/wheels/nvidia/*/include/. "$folder/include"
  touch "$folder/.complete"
fi
echo "$folder/include"
