# `make` lists the verbs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
NODE_STAMP := .node/.installed

.PHONY: help demo test check format clean install
.DEFAULT_GOAL := help

help: ## List the verbs.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

# One environment for everything; pinned, so that tomorrow's run is today's.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

install: $(STAMP) ## Make the environment in .venv.

# Azurite; where it cannot be had, the demo says so and runs on the directory store.
.PHONY: azurite
azurite: $(STAMP)
	@$(BIN)/python -m fixtures.install_azurite || test $$? -eq 3

demo: azurite ## Make a BitLocker drive, ingest it into Azurite, show what happened.
	@$(BIN)/python -m fixtures.demo

# Many tests wait rather than compute: so two at once, and each file by one of the two.
WORKERS ?= 2
test: azurite ## Run all tests.
	@$(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

# The same N and SEED give the same images everywhere; what is found is kept in tests/fuzz/regressions.
N ?= 1000
SEED ?= 1
.PHONY: fuzz
fuzz: $(STAMP) ## Mutate N drives (make fuzz N=10000 SEED=1) and read each.
	@$(BIN)/python -m tests.fuzz --images $(N) --seed $(SEED)

# docs/benchmarks.md tells how to read it. With ARGS="--quick" it is a matter of two minutes.
.PHONY: bench
bench: azurite ## Measure a transfer beside AzCopy, rclone, dislocker and the SDK (root).
	@$(BIN)/python -m benchmarks.install_peers
	@$(BIN)/python -m benchmarks.transfer $(ARGS)

# docs/benchmarks.md tells how to read it. With ARGS="--quick" it is a matter of two minutes.
.PHONY: bench-endurance
bench-endurance: $(STAMP) ## Measure two drives at once, memory, the first byte and resuming.
	@$(BIN)/python -m benchmarks.drives $(ARGS)
	@$(BIN)/python -m benchmarks.resume $(ARGS)

# docs/benchmarks.md tells how to read it. With ARGS="--files 2000 --total-mib 96" it is a matter of a minute.
.PHONY: bench-volume
bench-volume: $(STAMP) ## Measure our reader beside dislocker + ntfs-3g and libbde + libfsntfs (root).
	@$(BIN)/python -m benchmarks.volume $(ARGS)

# Each fifth kill is on Azurite, the others on the directory store; the simulation takes every point there is.
.PHONY: kill
kill: N = 200
kill: azurite ## Kill a real run N times (make kill N=200), and a simulated one everywhere.
	@KILL_POINTS=$(N) SIM_POINTS=all $(BIN)/python -m pytest -q tests/sim tests/integration/test_kill_points.py

# With all libraries, for the Python of this machine.
DEB_STAMP := dist/.built
$(DEB_STAMP): $(STAMP) $(shell find agent systemd -type f ! -name '*.pyc')
	systemd/debian/build $(BIN)/python dist
	@touch $@

.PHONY: package
package: $(DEB_STAMP)

# Installed and run in a container where that can be had.
.PHONY: deb
deb: package ## Build the Debian package in dist/, and try it.
	@$(BIN)/python -m pytest -q tests/integration/test_debian_package.py

# docs/lab.md tells what it takes. The guest is built once, and kept in .lab. FIRST=6 takes the first six.
.PHONY: lab
lab: azurite package ## Drives come and go in an emulated machine (root; make lab FIRST=6).
	@$(BIN)/python -m pytest -v tests/lab/scenarios $(if $(FIRST),--first $(FIRST)) $(ARGS)

check: $(STAMP) ## Lint, types, layers.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove what make made.
	rm -rf $(VENV) .node .peers .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .lab *.egg-info
