# Every target sets itself up: the first one on a fresh machine creates .venv, in about 80 seconds.

bin := .venv/bin

.PHONY: help demo test check docs bench clean

help:
	@echo 'make demo    extract activations of a real network over real photographs, cluster them, write a report'
	@echo 'make test    all tests'
	@echo 'make check   lint, format, types, import contracts'
	@echo 'make docs    build the documentation into site/'
	@echo 'make bench   overhead, memory and early stop against a bare forward loop'
	@echo 'make clean   remove what tools leave behind (not .venv, not runs)'

demo: .venv/ready
	$(bin)/actx run examples/quickstart/pipeline.toml

test: .venv/ready
	$(bin)/python -m pytest -n logical --maxprocesses 8 --dist worksteal --durations 10

check: .venv/ready
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict

bench: .venv/ready
	$(bin)/python benchmarks/run.py

clean:
	rm -rf dist build site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -type d \( -name __pycache__ -o -name '*.egg-info' \) -exec rm -rf {} +

.venv/ready: scripts/setup constraints.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
	bash scripts/setup

.venv/docs: .venv/ready
	$(bin)/python -m pip install --quiet --constraint constraints.txt --group docs
	touch $@
