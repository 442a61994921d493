.DEFAULT_GOAL := help
.PHONY: help setup demo load test test-long drills check format bench bench-peers capture capture-load lock clean
PYTHON ?=
export PYTHON
# The name of one benchmark: make bench ONLY=name
ONLY ?=
# How many processes share the tests of make test: make test WORKERS=8
WORKERS ?= 2
# More arguments for pytest: make test ARGS="-k ledger"
ARGS ?=

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: ## Make .venv with everything needed (the targets below do it by themselves)
	@.ci/setup

demo: setup ## Run a campaign of 3,080 people against a mock provider until the credits run out
	@.venv/bin/creditgate demo

# The report is written to .creditgate/load: docs/load.md says what is in it.
load: setup ## Load this machine for two minutes, and check the books afterwards
	@.venv/bin/creditgate load --duration 2m --rate 40 --processes 2 --accounts 40 --skew 1 \
		--scenario run-dry --error-rate 0.02 --usage-missing-rate 0.01 --out .creditgate/load

# A file stays in one process, so that what its tests share is set up once. The order is that of
# tests/conftest.py, which begins with the slowest.
test: setup ## Run the tests, but for those marked long
	.venv/bin/python -m pytest -m "not long" -n $(WORKERS) \
		--dist loadfile --no-loadscope-reorder --durations 20 $(ARGS)

# First those that start several processes of their own, or measure CPU, and count on both cores. The
# others share the cores as those of make test do.
test-long: setup ## Run the tests marked long
	@failed=0; \
	.venv/bin/python -m pytest -m "long and alone" --durations 20 $(ARGS) || failed=1; \
	.venv/bin/python -m pytest -m "long and not alone" -n $(WORKERS) \
		--dist loadfile --no-loadscope-reorder --durations 20 $(ARGS) || failed=1; \
	exit $$failed

# Half an hour. What is done is kept in the file, and gone on from; without it, all begins anew.
drills: setup ## Kill servers and processes under load, and check the books: docs/drills.md
	@.venv/bin/python -m tests.drills --resume .creditgate/drills.json --report docs/drills.md

check: setup ## Check format, lint, types and layers
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

format: setup ## Format the code and mend what lint can mend
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .

bench: setup ## Run the benchmarks, or one: make bench ONLY=name
	@.venv/bin/python -m tests.bench $(if $(ONLY),--only $(ONLY))

# Ten minutes. The systems are installed into .tools/peers, from pip's index and npm's registry.
bench-peers: setup ## Run one load on creditgate and on what people use today: docs/peers.md
	@.venv/bin/python -m tests.peers --report docs/peers.md

capture: setup ## Record the demo and draw docs/demo.svg anew
	@.venv/bin/python -m tests.capture

capture-load: setup ## Draw docs/load.png anew from the report of make load, with Chromium
	@.venv/bin/python -m tests.capture_load

lock: setup ## Write the locks anew; UPGRADE=1 raises the pins
	.ci/lock

clean: ## Remove the environment and every cache; data stays
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
