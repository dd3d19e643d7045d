#!/usr/bin/env bash
# Builds the images of the Dockerfile without Docker, and runs plancast in the CPU's as it
# is meant to run: as its own user, with a read-only root, no capabilities and a network of
# its own. It measures a model there, is scraped, passes the image's health check, and ends
# at SIGTERM. Prints the sizes of the images; "skipped: REASON" where something is missing.
#
#   scripts/image_test.sh
#
# It needs root and Debian's packages buildah, mmdebstrap and crun. Where base images cannot
# be pulled, stand-ins are made from this system's apt sources: Debian with a compiler and
# this machine's Go, with Python, and bare. GO_IMAGE, PYTHON_IMAGE, BASE_IMAGE and
# TENSORRT_IMAGE name real ones instead. SOURCE_DATE_EPOCH is the time of all that the
# images hold; without it, that of the commit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly port=9833 name=plancast-image-test-$$
started=$SECONDS
say() { printf 'image test: [%3d s] %s\n' "$((SECONDS - started))" "$*"; }
die() { printf 'image test: %s\n' "$@" >&2; exit 1; }
skip() { echo "skipped: $*"; exit 0; }

[[ $EUID -eq 0 ]] || skip "the images: only root can build and run them here"
missing=()
for program in buildah mmdebstrap crun python3; do command -v "$program" >/dev/null || missing+=("$program"); done
((${#missing[@]} == 0)) || skip "the images: ${missing[*]} not installed (on Debian: apt-get install ${missing[*]})"
command -v go >/dev/null || skip "the images: there is no Go to put into the image that plancast is built in"

cache=${PLANCAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plancast}/image
mkdir -p "$cache"
work=$(mktemp -d "${TMPDIR:-/tmp}/plancast-image-XXXXXX")
export TMPDIR=$work # of buildah as well
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}

b() { buildah --root "$work/storage" --runroot "$work/run" --storage-driver "${STORAGE_DRIVER:-vfs}" "$@"; }

# c runs crun without control groups, which it would refuse in systemd's hybrid form.
c() {
  # shellcheck disable=SC2016  # of the other shell
  unshare --mount --propagation private -- bash -c 'umount /sys/fs/cgroup/unified 2>/dev/null; exec crun --cgroup-manager=disabled "$@"' bash "$@"
}

clean() {
  c delete --force "$name" >/dev/null 2>&1 || true
  b umount --all >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap clean EXIT

# root_of NAME PACKAGE,... prints the archive of a Debian root with the packages, made once a week.
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:?image test: this is no Debian}")
root_of() {
  local archive=$cache/$suite-$1.tar new=$work/$suite-$1.tar mirror
  if [[ -z $(find "$archive" -mtime -7 2>/dev/null) ]]; then
    # shellcheck disable=SC2016  # apt's own words
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' | awk -v suite="$suite" '$1 == suite { print $2; exit }')
    mmdebstrap --quiet --variant=apt ${2:+--include="$2"} --aptopt='Acquire::Retries "3"' "$suite" "$new" ${mirror:+"$mirror"} >&2
    mv "$new" "$archive"
  fi
  echo "$archive"
}

# stand_in NAME ARCHIVE [SETTING...] makes an image of a root, which trusts whom this machine
# trusts and asks the registries that it asks.
stand_in() {
  local image=localhost/plancast-$1 container archive=$2 setting
  shift 2
  container=$(b from scratch)
  b add --quiet "$container" "$archive" / >/dev/null
  b run --isolation chroot "$container" -- mkdir -p /etc/ssl/certs
  [[ ! -f /etc/ssl/certs/ca-certificates.crt ]] || b copy --quiet "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt >/dev/null
  for setting in GOPROXY GOSUMDB GONOSUMDB GOPRIVATE; do
    [[ -z $(go env "$setting") ]] || b config --env "$setting=$(go env "$setting")" "$container"
  done
  for setting in http_proxy https_proxy no_proxy PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
    [[ -z ${!setting:-} ]] || b config --env "$setting=${!setting}" "$container"
  done
  b config --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$container"
  while (($#)); do
    case $1 in
    copy) b copy --quiet "$container" "$2" "$3" >/dev/null && shift 3 ;;
    env) b config --env "$2" "$container" && shift 2 ;;
    *) die "stand_in knows no $1" ;;
    esac
  done
  b commit --quiet --format docker --rm "$container" "$image" >/dev/null
  echo "$image"
}

# build TARGET builds a target of the Dockerfile as localhost/plancast:TARGET.
build() {
  local log=$work/build-$1.log
  b bud --isolation chroot --network host --format docker --timestamp "$SOURCE_DATE_EPOCH" --target "$1" --tag "localhost/plancast:$1" \
    --build-arg GO_IMAGE="$GO_IMAGE" --build-arg PYTHON_IMAGE="$PYTHON_IMAGE" --build-arg BASE_IMAGE="$BASE_IMAGE" \
    --build-arg TENSORRT_IMAGE="${TENSORRT_IMAGE:-localhost/none}" --build-arg VERSION=image-test \
    --build-arg REVISION="$(git rev-parse --short HEAD 2>/dev/null || echo unknown)" . >"$log" 2>&1 ||
    die "the target $1 cannot be built; the end of its log:" "$(tail -n 30 "$log")"
  say "localhost/plancast:$1 is built: $(b images --format '{{.Size}}' "localhost/plancast:$1")"
}

# bundle IMAGE FOLDER CONFIG MODELS [ARGUMENT...] writes what crun needs to run the image as
# it says, with the arguments in the place of its own. Prints the image's health check.
bundle() {
  local image=$1 folder=$2 config=$3 models=$4 container root
  shift 4
  container=$(b from --pull-never "$image")
  root=$(b mount "$container")
  mkdir -p "$folder/state"
  chown 9833:9833 "$folder/state"
  b inspect --type image "$image" | python3 scripts/image_bundle.py "$root" "$folder" "$config" "$models" "$@"
}

contained() { c exec "$name" "$@"; }

# ask PATH is what plancast in the container answers.
ask() {
  # shellcheck disable=SC2016  # of the container's shell
  contained bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$2" && printf "GET %s HTTP/1.0\r\n\r\n" "$1" >&3 && cat <&3' bash "$1" "$port"
}

# await SECONDS WHAT COMMAND... waits until the command succeeds.
await() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    kill -0 "$running" 2>/dev/null || die "plancast ended before $what; its log:" "$(tail -n 20 "$work/log")"
    ((SECONDS < end)) || die "$what: it did not happen in time; the log:" "$(tail -n 20 "$work/log")"
    sleep 0.5
  done
}

says() { ask "$1" | grep -qE "$2"; }

test_cpu() {
  local health
  mkdir -p "$work/models/net/1"
  cp "$PLANCAST_TEST_MODELS/matmul_fp32.onnx" "$work/models/net/1/model.onnx"
  cat >"$work/plancast.yml" <<'YML'
repository: {url: /models, quiet: 0s}
state: /var/lib/plancast
schedule: "@every 5s"
precisions: [fp32]
benchmark: {min_queries: 50, min_window: 100ms, max_windows: 2, sweep_window: 100ms, patience: 1s, repeat: 0}
targets: [{name: image, criteria: ["p99 < 10s"]}]
YML
  chmod -R a+rX "$work/models" "$work/plancast.yml"
  chmod a+x "$work"
  health=$(bundle localhost/plancast:cpu "$work/cpu" "$work/plancast.yml" "$work/models")
  c run --bundle "$work/cpu" "$name" >"$work/log" 2>&1 &
  running=$!
  await 60 "plancast is ready" says /-/ready 'HTTP/1\.[01] 200'
  await 120 "a model is measured" says /metrics '^plancast_engine_throughput_inferences_per_second\{.*model="net"'
  contained bash -c "$health" || die "the image's health check fails: $health"
  contained bash -c '! touch /usr/local/bin/x 2>/dev/null && grep -q "^CapEff:[[:space:]]*0*$" /proc/1/status && grep -q "^Uid:[[:space:]]*9833" /proc/1/status' ||
    die "plancast does not run as user 9833 without capabilities on a read-only root"
  grep -i 'does not confine' "$work/log" >&2 || true
  c kill "$name" TERM
  local end=$((SECONDS + 30)) status=0
  while kill -0 "$running" 2>/dev/null && ((SECONDS < end)); do sleep 0.2; done
  kill -0 "$running" 2>/dev/null && die "plancast does not end within 30 s of SIGTERM; its log:" "$(tail -n 20 "$work/log")"
  wait "$running" || status=$?
  ((status == 0)) || die "plancast ends with $status at SIGTERM; its log:" "$(tail -n 20 "$work/log")"
  [[ $(stat -c %u "$work/cpu/state/history.db") == 9833 ]] || die "the history is not on the volume"
  say "localhost/plancast:cpu measured a model, was scraped and ended at SIGTERM"
}

# test_tensorrt builds the target over a stand-in that has a compiler and headers, where this
# machine has them: no library of TensorRT, no GPU.
test_tensorrt() {
  local headers cuda
  if [[ -z ${TENSORRT_IMAGE:-} ]]; then
    headers=${TENSORRT_INCLUDE:-../shared/tensorrt/include}
    if [[ ! -f $headers/NvInfer.h ]]; then
      echo "skipped: the TensorRT image: its base image cannot be pulled here, and there are no headers for a stand-in (TENSORRT_INCLUDE)"
      return
    fi
    cuda=${CUDA_INCLUDE:-$(scripts/cuda_headers.sh)}
    TENSORRT_IMAGE=$(stand_in tensorrt "$(root_of cxx "$compiler,g++")" copy "$headers" /usr/include/x86_64-linux-gnu copy "$cuda" /usr/local/cuda/include)
  fi
  build tensorrt
  bundle localhost/plancast:tensorrt "$work/tensorrt" "$work/plancast.yml" "$work/models" check --config.file=/etc/plancast/plancast.yml >/dev/null
  c run --bundle "$work/tensorrt" "$name" >"$work/log" 2>&1 || die "plancast check fails in the TensorRT image:" "$(cat "$work/log")"
  grep -qE 'onnxruntime .*tensorrt cannot be used' "$work/log" || die "plancast check in the TensorRT image does not say why it measures on the CPU:" "$(cat "$work/log")"
  say "localhost/plancast:tensorrt has the binding, and says what it lacks here"
}

variables=$(scripts/setup.sh --runtime)
eval "$variables"

compiler=gcc,libc6-dev,make,ca-certificates
: "${GO_IMAGE:=$(stand_in go "$(root_of go "$compiler")" copy "$(go env GOROOT)" /usr/local/go env PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin env GOPATH=/go env GOTOOLCHAIN=local)}"
: "${PYTHON_IMAGE:=$(stand_in python "$(root_of python python3,python3-pip,ca-certificates)")}"
: "${BASE_IMAGE:=$(stand_in base "$(root_of base)")}"
say "the base images are there"
build cpu
test_cpu
test_tensorrt
