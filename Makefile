# make setup, then the rest; `.ci/run` does the same in a fresh environment.
venv := .venv
bin  := $(venv)/bin

.PHONY: setup check test test-long test-kernel docs bench

setup:            ## a virtual environment with everything for development
	python3 -m venv $(venv)
	$(bin)/pip install --quiet --disable-pip-version-check --editable '.[dev]'

check:            ## no root, no network: format, lint, types, imports, unit tests
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/pytest -q tests/unit

test:             ## all tests; what this machine can't do is skipped, with the reason
	$(bin)/pytest -q

test-long:        ## everything, and what takes minutes more: torch from the index (3 GB), other builders, long outages
	LAUNCH_TESTS_LONG=1 LAUNCH_TESTS_LARGE=1 $(bin)/pytest -q

test-kernel:      ## real containers, as root
	$(bin)/pytest -q tests/kernel

docs:             ## write the generated pages anew
	$(bin)/python -m launcher.config.reference > docs/reference/configuration.md
	$(bin)/python -m launcher.cli.reference > docs/reference/command-line.md

bench:            ## minutes, on an idle machine; Markdown on stdout
	@set -e; for script in command_help container_start unchanged_launch add_requirement sweep_of_true sweep_slots import_in_container fresh_state image_builds registry networks oci_runtime; do \
		$(bin)/python tests/bench/$$script.py; done
