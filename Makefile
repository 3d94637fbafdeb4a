# Everything a fresh machine needs is Python (3.12 or newer) and pip.
#
#   make run     install if needed, then start an exchange with a living market
#   make test    install if needed, then every test
#   make build   install, and build the compiled order book anew if its source has changed
#   make simulate SEEDS=100000   that many seeded runs of the whole pipeline with faults, on all cores (CONTRIBUTING.md)
#   make crash-matrix N=500      everything of a trading exchange dies at every labelled point, N times each
#   make failover N=20           two hosts: how long a book pauses when its host is killed, N times
#   make kill-switch N=3         how long the last of 10,000 orders lives once a kill switch is thrown
#   make soak MINUTES=30         the demo's market for so long, with a fault a minute
#   make check   format, lint, types, fast tests
#   make clients install the JavaScript clients that "make test" tries, where there is npm
#   make peers   install what "matchbox bench" is compared with: other order books, bare web frameworks
#   make lock    pin the dependencies anew, with hashes

PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
SYNCED := $(VENV)/.synced
INSTALLED := $(VENV)/.installed
COMPILED := workers/engine/compiled
ARGS ?=

# uv wants a cache; where its place cannot be written, as with a read-only home, it goes without.
CACHE := $(if $(UV_CACHE_DIR),$(UV_CACHE_DIR),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/uv)
ifneq ($(shell mkdir -p "$(CACHE)" 2>/dev/null && test -w "$(CACHE)" && echo yes),yes)
export UV_NO_CACHE := 1
endif

# Where this is set, each process compiles all that it imports, and pytest rewrites every test for each of its workers.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run install build test simulate crash-matrix failover kill-switch soak check clients peers format lock clean

run: $(INSTALLED)
	$(BIN)/matchbox start --demo $(ARGS)

install build: $(INSTALLED)

# uv comes from the system if it is there, else from PyPI into the environment itself. Without a Python 3.12,
# uv fetches one.
$(SYNCED): requirements.lock .python-version
	@if [ -n "$(PYTHON)" ]; then \
		echo "making $(VENV) with $$($(PYTHON) --version)"; \
		test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); \
	else \
		echo "no Python 3.12 or newer found: asking uv for one"; \
		python3 -m pip install --quiet --user uv && python3 -m uv venv --seed $(VENV); \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	@touch $@

# Builds the compiled order book where there is a C compiler; where not, the one in Python runs, not an old compiled one.
$(INSTALLED): $(SYNCED) pyproject.toml setup.py $(wildcard $(COMPILED)/*.p*)
	@rm -f $(COMPILED)/*.c $(COMPILED)/*.so
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation \
		--reinstall-package matchbox --editable .
	@$(BIN)/python -m compileall -q cli.py cluster migrations shared workers
	@$(BIN)/python -c "from workers.engine.core import order_book; print('order book:', order_book().core)"
	@touch $@

# Three at a time: most tests wait for processes. A file's tests stay together, since they share
# servers, and come in their own order: by number, the few that take minutes would come last, alone.
PYTEST := $(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(PYTEST) -q -m "not slow" $(ARGS)

test: $(INSTALLED) clients
	$(PYTEST) $(ARGS)

# Ends with one line of JSON. "make simulate SEEDS=500 ARGS='--first 2000'" goes on where another run ended.
SEEDS ?= 10000
simulate: $(INSTALLED)
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

# Ends with a table and one line of JSON. ARGS='--group zombies' strikes only there.
crash-matrix: N ?= 20
crash-matrix: $(INSTALLED)
	@$(BIN)/python -m tests.processes.crash --faults $(N) $(ARGS)

# Each ends with one line of JSON.
failover kill-switch: N ?= 5
failover: $(INSTALLED)
	@$(BIN)/python -m tests.processes.failover --runs $(N) $(ARGS)

kill-switch: $(INSTALLED)
	@$(BIN)/python -m tests.processes.kill_switch --runs $(N) $(ARGS)

MINUTES ?= 30
soak: $(INSTALLED)
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

# Clients from npm, which "make test" tries on a running exchange. Where they cannot be had, their tests are skipped.
JAVASCRIPT := tests/clients/javascript
clients: $(JAVASCRIPT)/node_modules/.installed

$(JAVASCRIPT)/node_modules/.installed: $(JAVASCRIPT)/package-lock.json
	@if ! command -v npm >/dev/null; then echo "no npm: the tests of JavaScript clients will be skipped"; \
	elif cd $(JAVASCRIPT) && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error; then touch node_modules/.installed; \
	else echo "npm cannot install: the tests of JavaScript clients will be skipped"; fi

# What "matchbox bench core" and "matchbox bench gateway" are compared with.
peers: $(INSTALLED)
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --no-build-isolation --editable ".[peers]"

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: pyproject.toml
	$(BIN)/python -m uv pip compile --quiet --universal --python-version 3.12 --extra dev --extra clients --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate --upgrade pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) $(COMPILED)/*.c $(COMPILED)/*.so build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
