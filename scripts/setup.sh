#!/usr/bin/env bash
# Prepares what plancast's tests and demo need, outside the checkout. Safe to run
# again: what is already right is left alone, so a second run takes about a second.
#
#   scripts/setup.sh --runtime   ONNX Runtime's library and the generated test models (make test)
#   scripts/setup.sh --demo      the same, and the demo's model repository (make demo)
#   scripts/setup.sh --mlflow    an MLflow server, and nothing else (make mlflow-test): 850 MB
#
# Progress goes to stderr. Stdout gets shell assignments for the caller:
#
#   eval "$(scripts/setup.sh --runtime)"
#
#   PLANCAST_CACHE                 the folder of it all, default ${XDG_CACHE_HOME:-~/.cache}/plancast
#   PLANCAST_PYTHON                the interpreter with onnx, onnxruntime and numpy
#   PLANCAST_ONNXRUNTIME_LIBRARY   libonnxruntime.so, checked against its SHA-256
#   PLANCAST_TEST_MODELS           the models that scripts/test_models.py generates
#   PLANCAST_DEMO_REPOSITORY       the demo's model repository (with --demo)
#   PLANCAST_MLFLOW                MLflow's program (with --mlflow)
#
# What this machine cannot have although it can have the rest ends with "skipped: REASON" and status 77.
set -euo pipefail

readonly ort_version=1.32.0
readonly ort_sha256_x86_64=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f
readonly ort_sha256_aarch64=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a

scripts=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly scripts
cache=${PLANCAST_CACHE:-${XDG_CACHE_HOME:-${HOME:?HOME is not set; set it, or PLANCAST_CACHE}/.cache}/plancast}
started=$SECONDS

say() { printf 'setup: [%3d s] %s\n' "$((SECONDS - started))" "$*" >&2; }
die() { printf 'setup: %s\n' "$@" >&2; exit 1; }
skip() { printf 'skipped: %s\n' "$*" >&2; exit 77; }

# check_machine refuses, with the way out, a machine that lacks what set-up cannot install.
check_machine() {
  local missing=()
  [[ $(uname -s) == Linux ]] || die "$(uname -s) is not supported: the pinned packages are for Linux (use a container or a virtual machine)"
  case $(uname -m) in
    x86_64) ort_sha256=$ort_sha256_x86_64 ;;
    aarch64 | arm64) ort_sha256=$ort_sha256_aarch64 ;;
    *) die "$(uname -m) is not supported: ONNX Runtime $ort_version is pinned for x86_64 and aarch64" ;;
  esac
  if command -v ldd >/dev/null && ldd --version 2>&1 | grep -qi musl; then
    die "this system's C library is musl; ONNX Runtime's library needs glibc 2.28 or newer (Debian 10, RHEL 8, Ubuntu 20.04 or later)"
  fi

  command -v go >/dev/null || missing+=("Go: install the version in go.mod from your distribution or the Go project, and put it on PATH")
  command -v gcc >/dev/null || command -v cc >/dev/null || missing+=("a C compiler: apt-get install gcc libc6-dev (or dnf install gcc)")
  command -v make >/dev/null || missing+=("make: apt-get install make (or dnf install make)")
  python=$(find_python) || missing+=("Python 3.11 to 3.14 with venv: apt-get install python3 python3-venv (or dnf install python3.12)")
  ((${#missing[@]} == 0)) || die "this machine lacks:" "${missing[@]/#/  }"
}

# find_python [NEWEST] prints the first interpreter, from 3.11 to 3.14 or NEWEST, that can make environments: the pinned
# packages have wheels for these.
find_python() {
  local candidate
  for candidate in ${PLANCAST_BASE_PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do
    if "$candidate" -c '
import sys, venv, ensurepip
sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, int(sys.argv[1])) and sys.implementation.name == "cpython"))' "${1:-14}" 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

# install FILE STAMP [ENVIRONMENT] installs a requirements file into the environment venv, or another, once for each
# content of the file.
install() {
  local file=$1 stamp=$cache/${3:-venv}/$2 want
  want=$(sha256sum <"$file")
  [[ -f $stamp && $(<"$stamp") == "$want" ]] && return
  say "installing $(grep -cE '^[a-z]' "$file") pinned Python package(s) from $(basename "$file")"
  "$cache/${3:-venv}/bin/python" -m pip --disable-pip-version-check --no-input install --quiet \
    --require-hashes --no-deps --only-binary :all: --requirement "$file" >&2 ||
    die "pip could not install $file (see its message above)." \
      "Check that this machine reaches its Python package index; a mirror is set with PIP_INDEX_URL or pip's own configuration." \
      "Then run the command again."
  printf '%s\n' "$want" >"$stamp"
}

# make_environment [ENVIRONMENT] creates the virtual environment venv, or another, and recreates it when its Python went away
# or changed version.
make_environment() {
  local venv=$cache/${1:-venv} version
  version=$("$python" -c 'import platform; print(platform.python_version())')
  if [[ ! -f $venv/.python || $(<"$venv/.python") != "$version" ]] || ! "$venv/bin/python" -c '' 2>/dev/null; then
    say "creating a Python $version environment in $venv"
    rm -rf "$venv"
    "$python" -m venv "$venv" >&2 || die "could not create $venv with $python (see its message above)"
    printf '%s\n' "$version" >"$venv/.python"
  fi
}

# place_library copies ONNX Runtime's library to a path that stays when the environment is rebuilt.
place_library() {
  local folder=$cache/onnxruntime/$ort_version source temporary
  library=$folder/libonnxruntime.so
  [[ -f $library ]] && is_library "$library" && return
  source=$("$cache/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/onnxruntime/capi/libonnxruntime.so.$ort_version
  if [[ ! -f $source ]] || ! is_library "$source"; then
    rm -rf "$cache/venv" # its stamps claim a content that is not there
    die "$source is missing or does not have the SHA-256 $ort_sha256." \
      "The environment was removed; run the command again to install it afresh."
  fi
  mkdir -p "$folder"
  temporary=$(mktemp "$folder/.writing-XXXXXX")
  cp "$source" "$temporary"
  chmod 755 "$temporary"
  mv "$temporary" "$library"
  say "ONNX Runtime $ort_version is at $library"
}

is_library() { [[ $(sha256sum <"$1") == "$ort_sha256  -" ]]; }

# check_mlflow sets python to one that MLflow's packages are pinned for.
check_mlflow() {
  local found why=
  if [[ $(uname -m) != x86_64 ]]; then why="this machine is $(uname -m)"
  elif ! found=$(find_python 11); then why="of the supported versions this machine has $("$python" --version)"; fi
  [[ -z $why ]] || skip "MLflow: its packages are pinned for Python 3.11 on x86_64, and $why: install MLflow yourself and name its program in PLANCAST_MLFLOW"
  python=$found
}

# assign prints an export of NAME=VALUE, so that a shell reads the value back as it is.
assign() { printf 'export %s=%q\n' "$1" "$2"; }

main() {
  local demo=false mlflow=false
  case ${1-} in
    --runtime) ;;
    --demo) demo=true ;;
    --mlflow) mlflow=true ;;
    *) die "usage: scripts/setup.sh --runtime | --demo | --mlflow" ;;
  esac
  check_machine
  mkdir -p "$cache" || die "cannot create the cache folder $cache; set PLANCAST_CACHE to a folder you may write"
  cache=$(cd "$cache" && pwd)
  # One set-up at a time; two make commands may start together.
  if command -v flock >/dev/null; then
    exec 9>"$cache/.lock"
    flock --nonblock 9 || {
      say "another set-up is working in $cache; waiting for it"
      flock 9
    }
  fi
  if $mlflow; then
    check_mlflow
    make_environment mlflow
    install "$scripts/requirements-mlflow.txt" .installed mlflow
    assign PLANCAST_MLFLOW "$cache/mlflow/bin/mlflow"
    return
  fi
  # A library already in place needs no disk; a fresh set-up takes about 330 MB.
  if [[ ! -d $cache/venv ]] && (($(df --output=avail -k "$cache" | tail -1) < 600000)); then
    die "$cache has less than 600 MB free; free some space or set PLANCAST_CACHE to another disk"
  fi

  make_environment
  install "$scripts/requirements.txt" .installed
  place_library
  "$cache/venv/bin/python" "$scripts/test_models.py" "$cache/testmodels" >&2
  if $demo; then
    install "$scripts/requirements-demo.txt" .installed-demo
    say "preparing the demo's models in $cache/models"
    "$cache/venv/bin/python" "$scripts/demo_models.py" "$cache/models" >&2
  fi

  assign PLANCAST_CACHE "$cache"
  assign PLANCAST_PYTHON "$cache/venv/bin/python"
  assign PLANCAST_ONNXRUNTIME_LIBRARY "$library"
  assign PLANCAST_TEST_MODELS "$cache/testmodels"
  if $demo; then assign PLANCAST_DEMO_REPOSITORY "$cache/models"; fi
  say "ready"
}

main "$@"
