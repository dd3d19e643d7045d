# plancast: guessable targets. Everything works without a GPU; make help lists it all.
SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo 0.1.0-dev)
REVISION ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
BIN      ?= bin/plancast
VARS     := github.com/prometheus/common/version
# Google's storage client speaks HTTP here; its gRPC transport would add 12 MB.
TAGS     ?= disable_grpc_modules,grpcnotrace
# Lazy, because NVML's functions are there only once its library is loaded. Without Go's build
# ID, which depends on the path of the C compiler.
LDFLAGS  := -s -w -buildid= -X $(VARS).Version=$(VERSION) -X $(VARS).Revision=$(REVISION) -extldflags=-Wl,-z,lazy

# cgo's compiler leaves out the warnings of go-nvml's header, in that package only.
ifeq ($(origin CC),default)
export CC := $(CURDIR)/scripts/cc.sh
endif

# What the tests need, as variables: the ONNX Runtime library and test models.
RUNTIME = variables=$$(scripts/setup.sh --runtime); eval "$$variables"

# After a script that prepares something: where this machine cannot have it, the script has said why, and that is no failure.
SKIPPED = { status=$$?; [ $$status = 77 ] && exit 0; exit $$status; }

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

.PHONY: build
build: ## build the plancast program, bin/plancast
	go build -trimpath -tags '$(TAGS)' -ldflags '$(LDFLAGS)' -o $(BIN) ./exporter

.PHONY: setup
setup: ## install ONNX Runtime and the test models into the cache outside the checkout
	scripts/setup.sh --runtime >/dev/null

.PHONY: demo
demo: ## measure real models on this machine and serve the report
	scripts/demo.sh

.PHONY: stack
stack: build ## run the whole stack without Docker over a demo history: plancast, Prometheus, Alertmanager, Grafana if there is one
	go build -trimpath -o bin/stack ./stack
	exec bin/stack

.PHONY: stack-test
stack-test: build ## start the stack, run every query of every dashboard, stop it, and check that nothing is left
	go build -trimpath -o bin/stack ./stack
	STACK_DIR=build/stack-test bin/stack -- go test -count=1 ./stack

# The race detector has each process wait a second at its end, and tests start hundreds.
GORACE ?= atexit_sleep_ms=20

.PHONY: test
test: ## run every Go test with the race detector
	$(RUNTIME); PLANCAST_REQUIRE_ONNXRUNTIME=1 GORACE="$(GORACE)" go test -race -timeout 60m ./...

.PHONY: rules
rules: ## check and test the alerts with promtool and amtool, and write the PrometheusRule for Kubernetes
	deploy/kubernetes/generate.sh
	PLANCAST_REQUIRE_PROMETHEUS=1 go test ./alerts/...

.PHONY: deploy-test
deploy-test: ## check docker-compose.yml, Dockerfile and the Kubernetes manifests against their readers' libraries
	cd deploy && go vet ./... && go test -count=1 ./... # the files lie outside of the module, where go does not look for changes

.PHONY: lint
lint: ## run the installed linters: formatting, vet, golangci-lint, shellcheck, ruff
	scripts/lint.sh

.PHONY: golden
golden: ## regenerate the golden files; read the diff before you commit it
	go test ./exporter/report ./exporter/metrics -update

.PHONY: conformance
conformance: ## measure ONNX's own node tests, and compare the outputs with ONNX Runtime's Python API
	$(RUNTIME); "$$PLANCAST_PYTHON" scripts/conformance.py "$$PLANCAST_CACHE/conformance"; \
	PLANCAST_REQUIRE_ONNXRUNTIME=1 PLANCAST_CONFORMANCE="$$PLANCAST_CACHE/conformance" go test -count=1 -run TestConformance -v ./exporter/bench

.PHONY: mlflow-test
mlflow-test: ## test the MLflow registry against a real server, which it installs (850 MB) unless PLANCAST_MLFLOW names one
	if [ -z "$${PLANCAST_MLFLOW:-}" ]; then variables=$$(scripts/setup.sh --mlflow) || $(SKIPPED); eval "$$variables"; fi; \
	PLANCAST_REQUIRE_MLFLOW=1 go test -count=1 -run TestAnMLflowRegistry ./exporter/candidate

.PHONY: stores-test
stores-test: ## test against a real Mimir and Thanos, which it builds the first time (12 minutes of processor time) unless PLANCAST_MIMIR and PLANCAST_THANOS name them
	variables=$$(scripts/stores.sh) || $(SKIPPED); eval "$$variables"; \
	PLANCAST_REQUIRE_STORES=1 go test -count=1 -run Store ./exporter ./exporter/fleet ./exporter/forecasting ./grafana-plugin/pkg/equality

.PHONY: fuzz
fuzz: ## fuzz everything that reads external bytes, for FUZZTIME (10s) each
	scripts/fuzz.sh $(or $(FUZZTIME),10s)

.PHONY: bench
bench: build ## measure every performance figure, as ratios to named peers
	$(RUNTIME); scripts/bench.sh

.PHONY: torture
torture: build ## inject every fault as often as docs/reliability.md says, and write its table; TORTURE sets other numbers
	$(RUNTIME); PLANCAST_REQUIRE_ONNXRUNTIME=1 go run ./bench/torture -plancast $(BIN) -write docs/reliability.md $(TORTURE)

.PHONY: sbom
sbom: build ## write the software bill of materials as CycloneDX: build/sbom-*.json
	VERSION='$(VERSION)' BIN='$(BIN)' scripts/sbom.sh

.PHONY: release
release: ## build/release: the program for amd64 and arm64, the plugin, SBOMs, checksums; the same commit gives the same bytes
	VERSION='$(VERSION)' scripts/release.sh

.PHONY: release-check
release-check: ## build the release twice, in two folders, and compare the bytes of every artifact; takes minutes
	scripts/release_check.sh

.PHONY: image-test
image-test: ## build the images with buildah and run plancast in one: a read-only root, no capabilities, SIGTERM; needs root, takes minutes
	scripts/image_test.sh

.PHONY: licences
licences: ## regenerate docs/licences.md: the licence of every linked module
	mkdir -p build
	go run ./scripts/licences > build/licences.md
	mv build/licences.md docs/licences.md

.PHONY: ci
ci: ## run what continuous integration runs
	.ci/run

.PHONY: clean
clean: ## remove build outputs; the cache stays
	rm -rf bin build
