# All build results and downloads are stored here, outside the clone. All clones share them.
CACHE := $(or $(AGENT_CREDS_CACHE),$(HOME)/.cache/agent-creds)
export AGENT_CREDS_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
.DEFAULT_GOAL := help

.PHONY: help
help: ## Prints this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## Runs the main job without a cluster: a real OAuth server, the real sidecar, an agent that gets a token
	@tests/demo/install
	@cargo build --quiet --locked -p agent-creds-sidecar
	@tests/demo/run "$(CARGO_TARGET_DIR)/debug/agent-creds-sidecar"

.PHONY: test
test: ## Runs all tests; with root on Linux also those on a real cluster, which it starts and removes
	@tests/run

.PHONY: unit
unit: ## Runs the unit tests; for after each change, a minute at most if the dependencies are built
	@cargo test --quiet --locked --workspace --exclude agent-creds-tests --exclude agent-creds-model --lib --bins --tests -- --skip flood::

.PHONY: cluster
cluster: ## Starts a real cluster with the chart and the example agent, and opens a shell in it
	@tests/cluster/shell

.PHONY: bench
bench: ## Runs the benchmarks, each next to a reference in the same run
	@tests/bench/run

.PHONY: model
model: ## Checks the model of the refresh protocol on every trace with two faults; one to two hours
	@cargo test --locked --profile model -p agent-creds-model -- --ignored --nocapture

.PHONY: chaos
chaos: ## Runs twenty sidecars on one grant under random faults, MINUTES=… SEED=…
	@tests/chaos/run "$(MINUTES)" "$(SEED)"

.PHONY: hostile
hostile: ## Runs attacks of a compromised agent, and prints the table of what stopped each attempt
	@tests/hostile/run

.PHONY: mutants
mutants: ## Removes ten defences, one at a time, and checks that the hostile suite fails; half an hour. NAMES=…
	@tests/mutants/run $(NAMES)

.PHONY: fuzz
fuzz: ## Fuzzes the parsers of provider replies and state documents, SECONDS=… each; needs a nightly compiler
	@fuzz/run "$(or $(SECONDS),60)"

.PHONY: images
images: ## Builds the two images as archives, REGISTRY=… TAG=… OUT=…
	@images/build "$(or $(OUT),$(CACHE)/images)" "$(or $(REGISTRY),localhost/agent-creds)" "$(or $(TAG),test)"

.PHONY: manifests
manifests: ## Renders manifests/ from the chart
	@tests/cluster/install api
	@HELM="$$(tests/cluster/built helm)" manifests/render

.PHONY: docs
docs: ## Writes the tables of the documentation that mirror the source
	@cargo run --quiet --locked -p agent-creds-docs

.PHONY: fmt
fmt: ## Formats the source
	@cargo fmt --all

.PHONY: lint
lint: ## Checks formatting, clippy, documentation, licences and bans, shell scripts
	@tests/lint

.PHONY: check
check: lint test ## Runs everything that CI runs
