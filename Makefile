# make setup, then the rest; `.ci/run` does the same in a fresh environment.
venv := .venv
bin  := $(venv)/bin

.PHONY: setup check test test-long test-kernel fuzz docs site bench

setup:            ## a virtual environment with everything for development
	python3 -m venv $(venv)
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[dev]'

check:            ## no root, no network: format, lint, types, imports, unit tests
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/pytest -q tests/unit tests/fuzz

test:             ## all tests; what this machine can't do is skipped, with the reason
	$(bin)/pytest -q

test-long:        ## everything, and what takes minutes more: torch from the index (3 GB), other builders, long outages
	LAUNCH_TESTS_LONG=1 LAUNCH_TESTS_LARGE=1 $(bin)/pytest -q

fuzz:             ## readers of foreign bytes, for as long as you let it (pip install -e '.[fuzz]'); what it finds lies in .fuzz
	nice $(bin)/python tests/fuzz/long_run.py --kept .fuzz

test-kernel:      ## real containers, as root
	$(bin)/pytest -q tests/kernel

docs:             ## write the generated pages anew
	$(bin)/python -m launcher.config.reference > docs/reference/configuration.md
	$(bin)/python -m launcher.cli.reference > docs/reference/command-line.md

site:             ## the documents as a site, in site/; a link that leads nowhere is an error
	$(bin)/uv tool run --quiet --from 'mkdocs-material>=9.5,<10' mkdocs build --strict --quiet

bench:            ## a quarter of an hour, on an idle machine: the table of docs/benchmarks.md, as Markdown on stdout
	$(bin)/python tests/bench/table.py
