# CI calls these targets (.ci/run). PIP_ARGS chooses another torch build, see docs/how-to/gpu.md.
PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
# COVERAGE=1 makes a target that runs tests print the lines that no test has run since
# `coverage erase`; COVERAGE=quiet only counts them.
COVERAGE ?=
BIN = $(VENV)/bin
INSTALL = PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/pip install --quiet -c constraints.txt $(PIP_ARGS)
# Two at a time: the tests of faults and clusters mostly wait. A file's tests stay together.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
	$(if $(COVERAGE),--cov --cov-append --cov-report=$(if $(filter quiet,$(COVERAGE)),,term-missing:skip-covered))
SLOW = slow or services or browser or gpu

export MLFLOW_DISABLE_TELEMETRY = true
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: help install quickstart test test-fast test-slow test-slurm coverage mutation lint types contract \
	pictures studies reference docs package test-wheel env image test-containers bench check
help: ## List the commands
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

install: $(VENV)/.installed ## Set up only

quickstart: $(VENV)/.installed ## Set up, train the quickstart sweep, print its table
	$(BIN)/sweeps run experiment=quickstart

test: $(VENV)/.installed-dev ## Set up and run all tests
	$(PYTEST)

test-fast: $(VENV)/.installed-dev ## Run the tests that are quick and need no service, browser or GPU
	$(PYTEST) -m "not ($(SLOW))"

test-slow: $(VENV)/.installed-dev ## Run the tests that test-fast leaves out, without those of SLURM
	$(PYTEST) -m "($(SLOW)) and not slurm"

test-slurm: $(VENV)/.installed-dev ## Run the tests of deploy/slurm (seven minutes, mostly waiting)
	$(BIN)/python -m pytest -m slurm

mutation: $(VENV)/.installed-dev ## Break identity, planning and retry on purpose; print what no test notices
	$(INSTALL) -e '.[mutation]'
	$(BIN)/mutmut run
	$(BIN)/mutmut results

coverage: $(VENV)/.installed-dev ## Run all tests and print the lines that none of them ran
	$(BIN)/coverage erase
	$(MAKE) test COVERAGE=1

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev ## mypy, strict, on both packages
	$(BIN)/mypy

contract: $(VENV)/.installed-dev ## The import contract
	$(BIN)/lint-imports

pictures: $(VENV)/.installed-dev ## Renew the README's and tutorial's pictures (needs chromium and its driver)
	$(BIN)/python -m docs.pictures

studies: $(VENV)/.installed-dev ## Run every study at laptop size and renew docs/studies/
	$(BIN)/python -m docs.studies

reference: $(VENV)/.installed-dev ## Write docs/reference.md, docs/modules.md and completion's words
	$(BIN)/python -m docs.reference

docs: $(VENV)/.installed-docs ## Build the documentation into site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

package: $(VENV)/.installed-dev ## Build the wheel and check that all it needs is in it
	rm -rf dist
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m build --wheel
	for file in sweeps/cli/completions.json sweeps/conf/config.yaml sweeps/templates/report.html \
		sweeps/templates/project/conf/experiment/first.yaml \
		sweeps/templates/report.js sweeps/templates/report.css \
		sweeps/py.typed deq/py.typed; do \
		$(BIN)/python -m zipfile -l dist/*.whl | grep $$file > /dev/null || exit 1; done

test-wheel: package ## Install the wheel and begin a project with it in an empty folder
	bash tests/wheel.sh $(abspath $(BIN))/python

env: ## Write .env with random secrets, for docker-compose.yml
	@test ! -e .env || { echo ".env is there already, and PostgreSQL keeps its password: see docs/how-to/cluster.md"; exit 1; }
	@umask 077 && for name in POSTGRES_PASSWORD MLFLOW_ADMIN_PASSWORD MLFLOW_SECRET_KEY RAY_TOKEN; do \
		echo "$$name=$$($(PYTHON) -c 'import secrets; print(secrets.token_hex(24))')"; done > .env
	@echo "Wrote .env. MLflow's user is admin, with MLFLOW_ADMIN_PASSWORD."

image: ## Build the container image, with this checkout's commit in it
	COMMIT=$$(git describe --always --dirty --abbrev=40 --exclude='*') PIP_ARGS="$(PIP_ARGS)" \
		docker compose build ray-head

test-containers: ## Run the containers on a Docker engine of the test's own (root, Debian 12; nine minutes)
	bash tests/containers/stack.sh $(CURDIR)

bench: $(VENV)/.installed ## Measure the engine beside TorchDEQ
	$(INSTALL) -e '.[bench]'
	$(BIN)/python -m benchmarks.engine

check: lint types contract docs package test-wheel test ## All checks but test-containers, which needs root on Debian 12

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "deq-sweeps needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "Installing (about 2 GB, some minutes) ..."
	$(INSTALL) -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) -e '.[dev,bench]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) -e '.[docs]'
	touch $@
