# Two commands do all the set-up: `make repro` and `make test`. Both may be run again at any time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Stages call `python`; this makes it the environment's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help install install-test repro test lint clean-venv
help:
	@echo "make repro   install into .venv and run the pipeline (dvc repro)"
	@echo "make test    install the test tools too and run the whole suite"
	@echo "make lint    ruff and mypy"

# A stamp file a requirements file: pip is asked only when the pins have changed.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; call make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: requirements.txt constraints.txt pyproject.toml | $(VENV)/.python
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps -e .
	@touch $@

$(VENV)/.installed-test: requirements-test.txt constraints.txt $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-test.txt
	@touch $@

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

repro: install
	dvc repro

test: install-test
	python -m pytest -n 2 --dist loadfile

lint: install-test
	ruff format --check .
	ruff check .
	mypy

clean-venv:
	rm -rf $(VENV)
