#!/usr/bin/env bash
# Brings the CUDA 12.6 runtime's headers, which TensorRT's need, into plancast's
# cache and prints their folder. They come from the pinned and checked Python
# package; neither CUDA nor a GPU is needed to compile the binding.
#
#   CUDA_INCLUDE=$(scripts/cuda_headers.sh)
set -euo pipefail
readonly package=nvidia-cuda-runtime-cu12==12.6.77
readonly sha256=ba3b56a4f896141e25e19ab287cd71e52a6a0f4b29d0d31609f60e3b4d5219b7
cache=${PLANCAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plancast}
folder=$cache/cuda-12.6.77
if [[ ! -f $folder/include/cuda_runtime_api.h ]]; then
  mkdir -p "$folder"
  work=$(mktemp -d "$folder/.fetching-XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # Debian's own python3 may have no pip; the environment of setup.sh has one.
  python=$cache/venv/bin/python
  if [[ ! -x $python ]]; then
    python3 -m venv "$work/venv"
    python=$work/venv/bin/python
  fi
  echo "$package --hash=sha256:$sha256" >"$work/requirements.txt"
  # Headers are the same for every processor; the checksum is this wheel's.
  "$python" -m pip --disable-pip-version-check --no-input download --quiet --require-hashes --no-deps \
    --only-binary :all: --platform manylinux2014_x86_64 --dest "$work" --requirement "$work/requirements.txt" >&2
  "$python" -m zipfile -e "$work"/*.whl "$work/wheel"
  rm -rf "$folder/include"
  mv "$work/wheel/nvidia/cuda_runtime/include" "$folder/include"
fi
echo "$folder/include"
