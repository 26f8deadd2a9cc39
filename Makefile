# Everything that is built or downloaded goes here, never into the clone, and is shared by all clones.
CACHE := $(or $(AGENT_CREDS_CACHE),$(HOME)/.cache/agent-creds)
export AGENT_CREDS_CACHE := $(CACHE)
export CARGO_TARGET_DIR ?= $(CACHE)/target
.DEFAULT_GOAL := help

.PHONY: help
help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: ## The main job without a cluster: a real OAuth server, the real sidecar, an agent that asks
	@tests/demo/install
	@cargo build --quiet --locked -p agent-creds-sidecar
	@tests/demo/run "$(CARGO_TARGET_DIR)/debug/agent-creds-sidecar"

.PHONY: test
test: ## All tests; with root on Linux also those on a real cluster, which it starts and removes
	@tests/run

.PHONY: cluster
cluster: ## A real cluster with the chart and the example agent, and a shell in it
	@tests/cluster/shell

.PHONY: bench
bench: ## Figures beside a reference in the same run
	@tests/bench/run

.PHONY: model
model: ## The refresh protocol explored further than in `make test`: every trace with two faults; an hour or two
	@cargo test --locked --profile model -p agent-creds-model -- --ignored --nocapture

.PHONY: chaos
chaos: ## Twenty sidecars on one grant while everything goes wrong, MINUTES=… SEED=…
	@tests/chaos/run "$(MINUTES)" "$(SEED)"

.PHONY: hostile
hostile: ## What a compromised agent can try, and how each attempt is stopped; prints the table
	@tests/hostile/run

.PHONY: mutants
mutants: ## Takes ten defences out, one at a time: the hostile suite has to notice; half an hour. NAMES=…
	@tests/mutants/run $(NAMES)

.PHONY: fuzz
fuzz: ## Fuzzes replies of providers and state documents, SECONDS=… each; needs a nightly compiler
	@fuzz/run "$(or $(SECONDS),60)"

.PHONY: images
images: ## The two images as archives, REGISTRY=… TAG=… OUT=…
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
lint: ## Format, clippy, documentation, licences and bans, shell scripts
	@tests/lint

.PHONY: check
check: lint test ## What CI runs
