# syntax=docker/dockerfile:1
# plancast's exporter.
#
#   docker build --target cpu -t plancast:cpu .             ONNX Runtime on the CPU (the default)
#   docker build --target tensorrt -t plancast:tensorrt .   TensorRT on an NVIDIA GPU, and the CPU, too
#
# The configuration is expected at /etc/plancast/plancast.yml, models wherever it says, and everything that plancast keeps
# in /var/lib/plancast: a volume. docs/deployment.md says what has been tried and what has not.

ARG GO_IMAGE=golang:1.26.8-bookworm
ARG BASE_IMAGE=debian:bookworm-slim
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
# TensorRT 10.6 with its headers; the binding also compiles against 11.1.
ARG TENSORRT_IMAGE=nvcr.io/nvidia/tensorrt:24.11-py3

FROM ${GO_IMAGE} AS go

FROM go AS source
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .

FROM source AS build-cpu
ARG VERSION=0.1.0-dev
ARG REVISION=unknown
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build VERSION="${VERSION}" REVISION="${REVISION}"

# The pinned wheel, checked against its hash, and of it the library alone.
FROM ${PYTHON_IMAGE} AS onnxruntime
COPY scripts/requirements.txt scripts/setup.sh scripts/onnxruntime_library.sh /scripts/
RUN /scripts/onnxruntime_library.sh /library

# TensorRT's image brings headers, libraries and a C++ compiler; Go comes along.
FROM ${TENSORRT_IMAGE} AS build-tensorrt
COPY --from=go /usr/local/go /usr/local/go
ENV PATH=/usr/local/go/bin:${PATH} GOTOOLCHAIN=local CGO_CXXFLAGS="-I/usr/include/x86_64-linux-gnu -I/usr/local/cuda/include"
COPY --from=source /src /src
WORKDIR /src
ARG VERSION=0.1.0-dev
ARG REVISION=unknown
RUN --mount=type=cache,target=/root/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    make build VERSION="${VERSION}" REVISION="${REVISION}" TAGS=disable_grpc_modules,grpcnotrace,tensorrt

FROM ${TENSORRT_IMAGE} AS tensorrt
RUN groupadd --system --gid 9833 plancast \
    && useradd --system --uid 9833 --gid plancast --home-dir /var/lib/plancast --create-home plancast
COPY --from=build-tensorrt /src/bin/plancast /usr/local/bin/plancast
COPY --from=onnxruntime /library /usr/local/lib/onnxruntime
COPY LICENSE /usr/share/doc/plancast/LICENSE
# utility: NVML, for telemetry.
ENV PLANCAST_ONNXRUNTIME_LIBRARY=/usr/local/lib/onnxruntime/libonnxruntime.so NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
ARG VERSION=0.1.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="plancast" \
      org.opencontainers.image.description="When will this model be ready to ship? Measured with TensorRT and ONNX Runtime" \
      org.opencontainers.image.source="https://github.com/plancast/plancast" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The image has no HTTP client; bash can speak that much. Kubernetes and compose have probes of their own.
HEALTHCHECK --interval=20s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9833 && printf 'GET /-/healthy HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *\" 200 \"* ]]"]
USER 9833:9833
WORKDIR /var/lib/plancast
VOLUME /var/lib/plancast
EXPOSE 9833
ENTRYPOINT ["/usr/local/bin/plancast"]
CMD ["serve", "--config.file=/etc/plancast/plancast.yml"]

# Last, so that it is what a build without --target makes.
FROM ${BASE_IMAGE} AS cpu
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates libstdc++6 tzdata \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 9833 plancast \
    && useradd --system --uid 9833 --gid plancast --home-dir /var/lib/plancast --create-home plancast
COPY --from=build-cpu /src/bin/plancast /usr/local/bin/plancast
COPY --from=onnxruntime /library /usr/local/lib/onnxruntime
COPY LICENSE /usr/share/doc/plancast/LICENSE
ENV PLANCAST_ONNXRUNTIME_LIBRARY=/usr/local/lib/onnxruntime/libonnxruntime.so
ARG VERSION=0.1.0-dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="plancast" \
      org.opencontainers.image.description="When will this model be ready to ship? Measured with ONNX Runtime" \
      org.opencontainers.image.source="https://github.com/plancast/plancast" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The image has no HTTP client; bash can speak that much. Kubernetes and compose have probes of their own.
HEALTHCHECK --interval=20s --timeout=5s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9833 && printf 'GET /-/healthy HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && [[ $line == *\" 200 \"* ]]"]
USER 9833:9833
WORKDIR /var/lib/plancast
VOLUME /var/lib/plancast
EXPOSE 9833
ENTRYPOINT ["/usr/local/bin/plancast"]
CMD ["serve", "--config.file=/etc/plancast/plancast.yml"]
