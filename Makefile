# Builds go to $CARGO_TARGET_DIR, by default outside the repository, so that every clone and every run shares them.
# One profile, release, for everything: docs/decisions/2026-11-22-one-build-profile.md.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(HOME)/.cache/flotilla/target
# ccache stands in for the C and C++ compilers of RocksDB where it is installed; a folder that is missing does no harm.
export PATH := /usr/lib/ccache:$(PATH):$(HOME)/.cargo/bin
ifdef FLOTILLA_CONFORMANCE
override FLOTILLA_CONFORMANCE := $(abspath $(FLOTILLA_CONFORMANCE))
export FLOTILLA_CONFORMANCE
endif

RELEASE := $(abspath $(CARGO_TARGET_DIR))/release
NODES ?= 3
HTTP_PORT ?= 9480
DATA ?= data
UP_FLAGS ?= --log.level=warn
IMAGE ?= flotilla:0.1.0
TOOLS ?= ../shared/bench
BENCH_FLAGS ?=
COMPARE_FLAGS ?= --instances 20 --hours 2

.PHONY: help run test build install lint fmt image bench compare

help: ## Show what can be made
	@grep -E '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 10

run: build ## Run a local cluster with its data in ./data; NODES=, HTTP_PORT=, DATA= and UP_FLAGS= change it
	@exec "$(RELEASE)/flotilla" up --nodes $(NODES) --data "$(DATA)" --http-port $(HTTP_PORT) $(UP_FLAGS) > >(exec .ci/welcome)

test: install ## Run every test; with FLOTILLA_CONFORMANCE=DIR also those that need recorded facts
	@.ci/test

# The same packages as `make test`, so that neither compiles again what the other has.
build: install
	cargo build --release --locked --workspace --bins

install:
	@.ci/install

lint: install ## Check format, lints and documentation; changes nothing
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps

fmt: ## Format all code
	cargo fmt --all

image: build ## Build the container image from the built binary; IMAGE= names it
	rm -rf "$(RELEASE)/image"
	mkdir -p "$(RELEASE)/image"
	cp "$(RELEASE)/flotilla" "$(RELEASE)/image/flotilla"
	docker build --file Dockerfile --build-arg BUILD_IMAGE=$$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile) --tag $(IMAGE) "$(RELEASE)/image"

bench: build ## Measure writes and queries of a local cluster; BENCH_FLAGS="--url NAME=http://HOST:PORT ..." of the servers named
	"$(RELEASE)/jepsen" bench --binary "$(RELEASE)/flotilla" $(BENCH_FLAGS)

compare: build ## Compare with Prometheus and VictoriaMetrics; TOOLS= is the folder of sidebyside.py
	cargo build --release --locked --manifest-path "$(TOOLS)/tsload/Cargo.toml" --target-dir "$(abspath $(CARGO_TARGET_DIR))/tsload"
	PATH="$(RELEASE):$$PATH" python3 "$(TOOLS)/sidebyside.py" --servers bench/servers.json \
		--tsload "$(abspath $(CARGO_TARGET_DIR))/tsload/release/tsload" $(COMPARE_FLAGS)
