# make demo    set everything up and show a broken deployment and its fix
# make test    set everything up and run every check and test
# make bench   set everything up and measure what the README claims about speed
#
# Needs Python 3.11 or newer with its venv module and headers, a C compiler, and make. Everything Python
# goes into .venv.

PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
JOBS ?= 2
NATIVE = $(wildcard native/*.c native/*.h native/*.py) setup.py pyproject.toml

.PHONY: demo test bench lint types contracts native sanitize pytest clean

demo: $(VENV)/.installed
	@PATH="$(abspath $(BIN)):$$PATH" sh examples/demo.sh

test: lint types contracts native pytest sanitize

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy --strict -p statekeep_cli

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

native:
	$(MAKE) -C native test sanitize threads

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) -q

# The Python suite once more, with the native core under AddressSanitizer and UBSan.
sanitize: $(VENV)/.dev
	PYTHON=$(BIN)/python sh tests/sanitized.sh

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "statekeep needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Set PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "$(PYTHON) has no venv module; on Debian: apt-get install python3-venv"; exit 1; }
	@test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" || \
	  { echo "Python.h is missing; on Debian: apt-get install python3-dev"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python $(NATIVE)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) build *.egg-info statekeep_cli/*.so
	$(MAKE) -C native clean
