# Every way to work on Chasqui. `make` alone lists the targets.
#
# On Debian or Ubuntu with git, make and Rust, `make run` and `make test` need nothing else done first:
# scripts/setup.sh installs what is missing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
# One target folder for all clones of this repository: RocksDB takes minutes to compile.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/chasqui-target
# A compiler cache, where there is one, makes RocksDB compile once for all profiles and folders. Looked for when a
# recipe starts, because `make setup` may just have installed it.
ifeq ($(origin CC),default)
export CC = $(if $(shell command -v ccache),ccache gcc,gcc)
endif
ifeq ($(origin CXX),default)
export CXX = $(if $(shell command -v ccache),ccache g++,g++)
endif

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)
PYTHON := $(CACHE)/chasqui-venv/bin/python
NODE := $(CACHE)/chasqui-node
TOOLS := $(CACHE)/chasqui-tools
# Where `make run` keeps its messages.
DATA ?= $(or $(XDG_DATA_HOME),$(HOME)/.local/share)/chasqui-dev
# More flags for `chasqui serve`, such as ARGS='--listen 127.0.0.1:2883'.
ARGS ?=

.PHONY: help
help: ## List the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)$$/\1\t\2/p' $(MAKEFILE_LIST) | sed 's/\$$\$$/$$/g' | while IFS=$$'\t' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: setup
setup: ## Install what building and testing need (fast when nothing is missing)
	@scripts/setup.sh

.PHONY: run
run: ## Build the server and run it for trying out: `chasqui serve --dev` (DATA=folder, ARGS=flags)
	@scripts/setup.sh build clients
	cargo build --release --locked --package chasqui-bridge --bin chasqui
	@mkdir -p -- "$(DATA)"
	@exec "$$CARGO_TARGET_DIR/release/chasqui" serve --dev --data "$(DATA)" $(ARGS)

.PHONY: test
test: setup lint doc deny unit mutations interop ## Everything that CI runs

.PHONY: lint
lint: ## Formatting and clippy, warnings are errors
	@scripts/setup.sh build
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo clippy --locked --package chasqui-broker --features mutations --test conformance -- --deny warnings
	cargo clippy --locked --package chasqui-broker --features fuzzing --lib -- --deny warnings
	cargo clippy --locked --package chasqui-sim --features mutations --test mutants -- --deny warnings
	cargo clippy --locked --package chasqui-bridge --features mutations --test proof --test model -- --deny warnings

.PHONY: doc
doc: ## API documentation; a broken link is an error
	@scripts/setup.sh build
	RUSTDOCFLAGS='--deny warnings' cargo doc --locked --workspace --no-deps

.PHONY: deny
deny: ## Licenses, banned crates and sources of the dependencies (deny.toml)
	@scripts/setup.sh deny
	$(TOOLS)/bin/cargo-deny --locked --log-level error check licenses bans sources

.PHONY: unit
unit: ## Rust tests and documentation examples
	@scripts/setup.sh build
	@if cargo nextest --version >/dev/null 2>&1; then \
		set -x; cargo nextest run --locked --workspace; \
	else \
		set -x; cargo test --locked --workspace --lib --bins --tests; \
	fi
	cargo test --locked --workspace --doc

.PHONY: bench
bench: ## What operations take among many others' things, and beside silent connections; what a start takes with a million devices
	@scripts/setup.sh build
	cargo bench --locked --package chasqui-broker --bench growth --bench connect_under_silence
	cargo bench --locked --package chasqui-bridge --bench growth --bench retained --bench start

.PHONY: peers
peers: ## Chasqui beside mosquitto, rumqttd, NATS and RabbitMQ, and the table: bench/RESULTS.md (ONLY=names, RUN=seconds)
	@scripts/setup.sh build clients peers
	cargo build --release --locked --package chasqui-bridge --bin chasqui
	cargo build --release --locked --package chasqui-bench
	python3 bench/peers/run.py --chasqui "$$CARGO_TARGET_DIR/release/chasqui" --bench "$$CARGO_TARGET_DIR/release/chasqui-bench" \
		--only "$(ONLY)" --seconds $(or $(RUN),20) --out bench/RESULTS.md

.PHONY: fuzz
fuzz: ## Random histories of a session, for longer than `make unit` does (RUNS=number, FUZZ_SEED=number)
	@scripts/setup.sh build
	FUZZ_RUNS=$(or $(RUNS),100000) cargo test --locked --package chasqui-broker --lib no_history -- --nocapture

# Coverage needs flags that only a nightly compiler takes, or a stable one that is told to.
.PHONY: guided
guided: ## Fuzzing guided by coverage (TARGET=session or codec, SECONDS=number)
	@scripts/setup.sh build fuzz
	RUSTC_BOOTSTRAP=1 $(TOOLS)/bin/cargo-fuzz run --target-dir "$$CARGO_TARGET_DIR/fuzz" $(or $(TARGET),session) -- \
		-max_total_time=$(or $(SECONDS),600) -print_final_stats=1

.PHONY: mutations
mutations: ## Break rules of the broker and promises of the server one by one: what is to notice must
	@scripts/setup.sh build
	cargo test --locked --package chasqui-broker --features mutations --test conformance mutants
	cargo test --locked --package chasqui-sim --features mutations --test mutants
	cargo test --locked --package chasqui-bridge --features mutations --test proof mutants -- --test-threads 1
	cargo test --locked --package chasqui-bridge --features mutations --test model mutants

.PHONY: sim
sim: ## Simulated worlds, each of a seed, for longer than `make unit` does (SEEDS=number, SEED=first)
	@scripts/setup.sh build
	cargo run --release --locked --package chasqui-sim -- --seeds $(or $(SEEDS),10000) --seed $(or $(SEED),1)

# In earnest what `make unit` does in short: every way in which a disk breaks, and power cuts by the hundred.
.PHONY: proof
proof: ## Power cuts and broken disks under the real program, and a million commands beside a model (ROUNDS=, PROOF_SEED=, MODEL_COMMANDS=, MODEL_SEED=number)
	@scripts/setup.sh build
	PROOF_ROUNDS=$(or $(ROUNDS),200) cargo test --locked --package chasqui-bridge --test proof -- --nocapture --test-threads 1
	MODEL_COMMANDS=$(or $(MODEL_COMMANDS),1000000) cargo test --locked --package chasqui-bridge --test model -- --nocapture

.PHONY: interop
interop: ## Foreign clients (Paho, mosquitto, MQTT.js) against the real server: tests/interop
	@scripts/setup.sh build clients python node
	cargo build --locked --package chasqui-bridge --bin chasqui
	CHASQUI_BIN="$$CARGO_TARGET_DIR/debug/chasqui" CHASQUI_NODE="$(NODE)" $(PYTHON) tests/interop/run.py $(STORIES)

.PHONY: env
env: ## Print the build variables, for cargo without make: eval "$$(make -s env)"
	@printf 'export CARGO_TARGET_DIR=%q CC=%q CXX=%q\n' "$$CARGO_TARGET_DIR" "$$CC" "$$CXX"

.PHONY: clean
clean: ## Remove what was built, the environments of Python and Node and the tools; messages in DATA stay
	cargo clean
	rm -rf -- "$(CACHE)/chasqui-venv" "$(NODE)" "$(TOOLS)"
