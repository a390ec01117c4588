# Metercast: the targets. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
METERS ?= 200
STORE  ?= sqlite

# What the demo needs for each store, and the server that runs beside it.
DEMO_sqlite   := $(VENV)/run.stamp
DEMO_postgres := $(VENV)/dev.stamp
DEMO_mongodb  := $(VENV)/dev.stamp $(VENV)/mongodb-server/ready.stamp
BESIDE_postgres := $(BIN)/python -m tests.servers postgres --
BESIDE_mongodb  := $(BIN)/python -m tests.servers mongodb --

.DEFAULT_GOAL := help
.PHONY: help demo test check fuzz bench serve lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_$(STORE))  ## Set up and run SET_TOU on 200 simulated meters, end to end; STORE=sqlite, postgres or mongodb
	$(if $(DEMO_$(STORE)),,$(error STORE=$(STORE): there are sqlite, postgres and mongodb))
	@$(BESIDE_$(STORE)) $(BIN)/metercast demo --meters $(METERS)

test: check  ## Set up, then format, lint, types and all tests
	@$(BIN)/pytest -n 3 --dist loadgroup

check: $(VENV)/dev.stamp $(VENV)/mongodb-server/ready.stamp $(VENV)/gurux-client/ready.stamp
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

fuzz: $(VENV)/dev.stamp  ## Throw octets at every parser for SECONDS, 300 without it; says what was found
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),300)

bench: $(VENV)/dev.stamp $(VENV)/mongodb-server/ready.stamp $(VENV)/bench-peers/ready.stamp  ## Run the benchmarks; fails below a bar
	@$(BIN)/python -m bench

serve: $(VENV)/run.stamp  ## Start the server on ./data
	@$(BIN)/metercast serve --data-dir data

lock:  ## Make the lock files again from pyproject.toml (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml requirements/build.in -o run.lock
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --all-extras pyproject.toml requirements/dev.in -c run.lock -o dev.lock
	for each in mongodb-server gurux-client bench-peers; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	    requirements/$$each.in -o requirements/$$each.lock; done

clean:  ## Remove the environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist

# A stamp stands for an environment that holds exactly what a lock file names.
$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Metercast needs Python 3.11 or newer")'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: run.lock pyproject.toml | $(VENV)/python.stamp
	@echo "Setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r run.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: dev.lock $(VENV)/run.stamp
	@echo "Adding the tools for tests ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r dev.lock
	@touch $@

# Environments of their own: a server under the GPL, and what the benchmark compares with.
$(VENV)/%/ready.stamp: requirements/%.lock | $(VENV)/python.stamp
	@echo "Setting up $(@D) ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
