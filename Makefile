# Needs nothing but make, git and Python 3.11 or newer.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

# Spinning OpenMP threads fight over busy cores; sleeping ones cost nothing.
export OMP_WAIT_POLICY := PASSIVE
unexport HF_HUB_OFFLINE
# Every run and every test that starts one would compile all sources anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test check docs snapshots bench parity clusters torture clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## make .venv with everything in it

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)."; \
		echo "Name another one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv .venv || { \
		echo "'$(PYTHON) -m venv' failed. On Debian and Ubuntu: apt install python3-venv"; exit 2; }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(INSTALLED)  ## train SFT, reward model and PPO on the built-in task, then compare (minutes, no GPU)
	$(BIN)/rlhf demo

# Two processes, a thread each: much of the time is spent waiting for runs to start.
test: check  ## everything that CI runs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile --ignore tests/house/docs

check: $(INSTALLED)  ## style, types, import direction, documents
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --durations=0 tests/house/docs

docs: $(INSTALLED)  ## write options.md, commands.md and the tables of checks.md in docs anew
	$(BIN)/python docs/generate.py

snapshots: $(INSTALLED)  ## write the console's screens in tests/tui/snapshots anew, to be looked at before they are committed
	RENEW_SNAPSHOTS=1 $(BIN)/pytest -q tests/tui/test_snapshots.py

bench: $(INSTALLED)  ## measure; results go to benchmarks/results
	$(BIN)/python -m benchmarks

parity:  ## beside TRL 1.12.0 and TorchRL, in an environment of its own (a quarter of an hour)
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e . trl==1.12.0 torchrl==0.14.1
	.venv-parity/bin/python -m benchmarks.parity

clusters: $(INSTALLED)  ## have SkyPilot's own loader read the tasks of --launcher sky, in an environment of its own (minutes)
	$(PYTHON) -m venv .venv-clusters
	.venv-clusters/bin/pip install --quiet --disable-pip-version-check skypilot==0.14.1
	$(BIN)/pytest -q tests/launchers/test_sky_loader.py

torture: $(INSTALLED)  ## kill, stop and starve every trainer at counted moments, resume, compare bit for bit (an hour)
	$(BIN)/python -m benchmarks.torture

clean:  ## remove the environment, caches and builds; runs stay
	rm -rf .venv .venv-parity .venv-peers .venv-clusters build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
