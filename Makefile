# Two commands: `make run` does the main job on embedded real data, `make test` proves that it works.
PYTHON ?= python3
VENV := .venv
SHELL := bash
BIN := $(VENV)/bin
INSTALL := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
STAMP := $(VENV)/installed
NAME ?=
# Tests at once: the smallest machine has two cores.
TESTERS ?= 2
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup run test deep fast check lock bench up clean

help:  ## Say what each target does
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

setup: $(STAMP)  ## Make .venv with everything pinned by hash

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "countersign needs Python 3.11 or newer; set PYTHON=..." >&2; exit 2; }
	@echo "Installing about 210 pinned packages into $(VENV); this takes 2-4 minutes once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(INSTALL) -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

deep: setup  ## Add PyTorch for the deep families: a CPU build where one is offered, else the plain one (several GB)
	@$(BIN)/python -c 'import torch, safetensors' 2>/dev/null || { \
	  echo "Installing PyTorch; this takes some minutes once."; \
	  $(INSTALL) -r requirements-deep.lock 2>/dev/null || $(INSTALL) -r requirements-cuda.lock; }

run: setup  ## Collect, train, validate, backtest and decide on embedded real data
	@$(BIN)/countersign retrain sp500_alpha

up: setup  ## Run the Prefect and MLflow servers and serve the flows
	@$(BIN)/countersign up

test: setup  ## Run all tests
	@echo "Running all tests: real servers, real processes, a real browser; a quarter of an hour on two cores."
	@$(PYTEST) -p no:cacheprovider -n $(TESTERS) --dist loadscope

fast: setup  ## Run the tests of the pure domain
	@$(BIN)/python -m pytest -m "not slow" tests/domain tests/test_architecture.py

check: setup  ## Lint, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | grep -E 'KEPT|BROKEN|Contracts:|->' ; exit $${PIPESTATUS[0]}

bench: setup  ## Run a benchmark: make bench NAME=chain [ARGS=--quick]
	@test -n "$(NAME)" || { echo "give NAME=, one of: $$(ls benchmarks/*.py | xargs -n1 basename -s .py | tr '\n' ' ')"; exit 2; }
	@$(BIN)/python benchmarks/$(NAME).py $(ARGS)

lock: setup  ## Pin what pyproject.toml asks for anew
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra dev \
	  --no-annotate --no-header pyproject.toml -o requirements.lock

clean:  ## Remove the environment and caches; state in mlruns stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
