# make demo | test | test-slow | test-lowest | fuzz | lint | docs | packages: each makes its environment on first use.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-slow test-lowest fuzz lint docs packages clean

demo: .venv/installed
	$(BIN)/panoptic-blend demo --output runs/demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -n auto

test-slow: .venv/installed-dev
	$(BIN)/python -m pytest -m slow

# The oldest versions that setup.cfg allows. pip only knows the newest, hence uv.
test-lowest: .venv-lowest/installed
	.venv-lowest/bin/python -m pytest -n auto

fuzz: .venv/installed-dev
	HYPOTHESIS_PROFILE=default $(BIN)/python -m pytest -n auto

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

packages: .venv/installed-dev
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*

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

.venv-lowest/installed: setup.cfg pyproject.toml
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[test,timm,web,hub,completion,fast]'
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python --no-deps panopticapi-lite
	touch $@

clean:
	rm -rf .venv .venv-lowest runs build dist site *.egg-info
