# make demo | test | test-slow | fuzz | lint | docs: each makes .venv on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow fuzz lint docs clean

demo: .venv/installed
	$(BIN)/panoptic-blend demo --output runs/demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

fuzz: .venv/installed-dev
	HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest -n auto

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A link that leads nowhere fails.
docs: .venv/installed-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.venv/installed: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

# panopticapi-lite pins numpy<2 without needing it, hence --no-deps.
.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	$(BIN)/python -m pip install --quiet --no-deps panopticapi-lite
	touch $@

clean:
	rm -rf .venv runs build dist site *.egg-info
