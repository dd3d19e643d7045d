#!/usr/bin/env bash
# Puts ONNX Runtime's library, and nothing else of its Python package, into a
# folder: for images, which need neither Python nor the test models.
#
#   scripts/onnxruntime_library.sh FOLDER
#
# Version and checksums are those of scripts/requirements.txt and scripts/setup.sh.
# PYTHON names the interpreter whose pip is used (python3).
set -euo pipefail
scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly scripts
die() { printf 'onnxruntime_library: %s\n' "$@" >&2; exit 1; }

main() {
  local folder=${1:?usage: scripts/onnxruntime_library.sh FOLDER} python=${PYTHON:-python3} temporary version want library
  temporary=$(mktemp -d)
  # shellcheck disable=SC2064  # the path as it is now
  trap "rm -rf '$temporary'" EXIT
  # The entry of onnxruntime with its hashes: from its line to the first that does not continue.
  sed -n '/^onnxruntime==/,/[^\\]$/p' "$scripts/requirements.txt" >"$temporary/requirements.txt"
  version=$(sed -nE 's/^onnxruntime==([^ \\]+).*/\1/p' "$temporary/requirements.txt")
  want=$(sed -nE "s/^readonly ort_sha256_$(uname -m)=([0-9a-f]{64})$/\1/p" "$scripts/setup.sh")
  [[ -n $version && -n $want ]] || die "ONNX Runtime is not pinned for $(uname -m) in $scripts"
  "$python" -m pip --disable-pip-version-check --no-input download --quiet --require-hashes --no-deps --only-binary :all: \
    --dest "$temporary" --requirement "$temporary/requirements.txt" ||
    die "pip could not download onnxruntime $version (see its message above); a mirror is set with PIP_INDEX_URL"
  library=onnxruntime/capi/libonnxruntime.so.$version
  "$python" -m zipfile --extract "$temporary"/onnxruntime-*.whl "$temporary/wheel"
  [[ $(sha256sum <"$temporary/wheel/$library") == "$want  -" ]] || die "$library of the wheel does not have the SHA-256 $want"
  mkdir -p "$folder"
  install -m 755 "$temporary/wheel/$library" "$folder/libonnxruntime.so"
  printf 'ONNX Runtime %s is at %s\n' "$version" "$folder/libonnxruntime.so"
}

main "$@"
