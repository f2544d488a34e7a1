# make help lists the targets.
PYTHON ?= python3
# URL of a package index with PyTorch's CPU wheels; empty: the default index.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --constraint constraints.txt
TESTS ?= tests
QUICK := tests/test_house.py $(addprefix tests/,design judgement experiment reports store nn/test_norms.py nn/test_slots.py nn/conformance)

.PHONY: help setup demo test quick lint bench pages clean

help:            ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/installed            ## make .venv and install paribus into it

demo: setup            ## run the study `norm`: ends with the verdict and the path of the report
	$(BIN)/paribus run norm

test: $(VENV)/installed-for-tests            ## run the whole test suite
	$(BIN)/ruff check src tests benchmarks docs/pages
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(TESTS)

quick: $(VENV)/installed-for-tests            ## run the tests that train nothing, or hardly anything
	$(BIN)/ruff check src tests benchmarks docs/pages
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal $(QUICK)

lint: $(VENV)/installed-for-tests            ## check style and formatting
	$(BIN)/ruff check src tests benchmarks docs/pages
	$(BIN)/ruff format --check src tests benchmarks docs/pages
	$(BIN)/mypy

bench: $(VENV)/installed-for-bench            ## measure how long a verdict takes: benchmarks/results/*.json and docs/performance.md
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/side_by_side.py
	$(BIN)/python benchmarks/profile_run.py
	$(BIN)/python benchmarks/alternatives.py
	$(BIN)/python benchmarks/time_to_verdict.py
	$(BIN)/python benchmarks/variance.py
	$(BIN)/python docs/pages

pages: setup            ## write what docs/ and README.md hold of results, parts, audits and benchmarks
	$(BIN)/python docs/pages

clean:            ## remove the environment; stores and reports stay
	rm -rf $(VENV)

$(VENV)/torch: constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("paribus needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--no-deps --index-url $(TORCH_INDEX)) torch
	@touch $@

$(VENV)/installed: $(VENV)/torch pyproject.toml
	$(PIP) --editable .
	@touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(PIP) --editable '.[test]'
	@touch $@

$(VENV)/installed-for-bench: $(VENV)/installed
	$(PIP) --editable '.[bench]'
	$(PIP) --no-deps litgpt lightning lightning-utilities psutil torchmetrics  # litgpt wants another huggingface-hub
	@touch $@
