# One environment, made when it is missing and renewed when its lists change.
#   make quickstart     install and let the demo answer questions
#   make test           what a change must pass
PYTHON ?= python3
VENV ?= .venv
PIP_FLAGS ?=
PYTEST_FLAGS ?=

BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt $(PIP_FLAGS)
LISTS := pyproject.toml constraints.txt
DEV := $(VENV)/.lexite-dev
USE := $(VENV)/.lexite-quickstart

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-fast lint types format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

quickstart: $(USE) ## install lexite and the default model, then let the demo answer questions
	$(BIN)/lexite demo --questions 5

test: lint types $(DEV) ## lint, types, and every test with coverage
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=90 $(PYTEST_FLAGS)

test-fast: $(DEV) ## the tests that take less than three seconds each
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

lint: $(DEV) ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(DEV) ## ruff: mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## mypy, strict
	$(BIN)/mypy

bench: $(DEV) ## the benchmarks, on this machine
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean: ## remove the environment, caches and reports
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov dist build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(DEV): $(LISTS) | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(USE)

$(USE): $(LISTS) | $(BIN)/python
	$(INSTALL) --editable '.[minilm]'
	@touch $@
