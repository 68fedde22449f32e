# make run       install what is missing, start everything on http://127.0.0.1:7860
# make test      install what is missing, run all tests (the real model and a real browser among them)
# make check     lint, types, docs
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two at a time, a file to each, the longest first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# A CUDA machine gets the CUDA build of vLLM, every other one the CPU build with pinned versions.
CUDA := $(shell test -e /dev/nvidia0 && echo yes)
REQUIREMENTS := $(if $(CUDA),pyproject.toml,requirements/cpu.txt)
STAMP := $(VENV)/.installed-$(if $(CUDA),gpu,cpu)-$(shell cat $(REQUIREMENTS) | sha256sum | cut -c1-12)

.PHONY: run install test test-fast lint check browser clean

run: install
	@$(BIN)/python app.py $(ARGS)

install: $(STAMP)

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] < (3, 13) else "Python %d.%d is not supported. Install Python 3.11 or 3.12 and run: make PYTHON=python3.11 $(MAKECMDGOALS)" % sys.version_info[:2])'
	@command -v gcc >/dev/null || command -v cc >/dev/null || { echo "There is no C compiler, which vLLM needs. Install one: apt-get install gcc" >&2; exit 1; }
	@$(PYTHON) -c 'import shutil, sys; free = shutil.disk_usage(".").free / 2**30; sys.exit(0 if free > 8 else f"{free:.1f} GiB of disk are free here; 8 GiB are needed for the packages.")'
	@$(PYTHON) -m venv $(VENV) || { echo "venv is missing. Install it: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing packages (about 2 minutes the first time) ..."
	@.ci/install $(BIN)/pip $(if $(CUDA),gpu,cpu)
	@rm -f $(VENV)/.installed-* && touch $(STAMP)

browser:
	@command -v chromium >/dev/null || { echo "Installing Chromium ..."; $(if $(filter-out 0,$(shell id -u)),sudo) sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium fonts-noto-color-emoji >/dev/null'; }

test: install browser
	@$(PYTEST) $(ARGS)

test-fast: install
	@$(PYTEST) -m "not slow" $(ARGS)

lint: install
	@$(BIN)/ruff check . && $(BIN)/ruff format --check -q .
	@$(BIN)/mypy

check: lint
	@$(BIN)/python -m pytest -m "not slow" tests/test_docs.py tests/test_tree.py

clean:
	rm -rf $(VENV) data .pytest_cache .mypy_cache .ruff_cache
