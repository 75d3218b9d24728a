# One word per job. Each brings what it needs into .tools/ and .venv/, on a machine with only
# Python >= 3.11, pip and make, and does nothing twice.
#   PYTHON=/path/to/python3.12   the interpreter to use
#   ARGS="…"                     handed on to what demo, test, test-full and lock run

.SUFFIXES:
.PHONY: help install demo test test-full test-browser lint lock clean

PYTHON ?=
ARGS ?=
BIN = .venv/bin
UV = .tools/bin/uv

# The machine's own certificates, as pip uses them: behind a company's proxy uv's own list fails.
UV_SYSTEM_CERTS ?= true
export UV_SYSTEM_CERTS

help:
	@echo 'make install    build .venv with everything'
	@echo 'make demo       show the router at work, no keys needed (ARGS=--once: and exit)'
	@echo 'make test       run the tests, small sizes (ARGS="-k word": what pytest takes)'
	@echo 'make test-full  run the tests at the sizes the documents state'
	@echo 'make test-browser  look at the status page in a real browser (Debian: needs chromium)'
	@echo 'make lint       ruff and mypy'
	@echo 'make lock       bring requirements/ in step with pyproject.toml (ARGS=--upgrade: newest)'
	@echo 'make clean      remove what the above made'

install: .venv/.all

demo: .venv/.demo
	@$(BIN)/qwen3-router demo $(ARGS)

# Two processes; the tests of one file share one, since they share the servers they start. Which file
# is next says tests/order.py.
SPREAD = --dist loadfile --no-loadscope-reorder

test: .venv/.all
	@$(BIN)/python -m pytest -n 2 $(SPREAD) $(ARGS)

test-full: .venv/.all
	@QWEN3_ROUTER_TEST_SIZE=full $(BIN)/python -m pytest -n 2 $(SPREAD) $(ARGS)

test-browser: .venv/.browser
	@sh scripts/browser
	@QWEN3_ROUTER_TEST_BROWSER=1 $(BIN)/python -m pytest tests/browser $(ARGS)

lint: .venv/.all
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# .demo is a part of .all in the same versions: a first look need not wait for linters and clients.
# The packages and the project itself are two steps, so that an edit of pyproject.toml asks no
# network. Compiling once halves the start of every proxy in the tests.
PROJECT = $(UV) pip install --quiet --offline --python $(BIN)/python --no-deps \
	--no-build-isolation --editable .

.venv/.all: .venv/.all-packages pyproject.toml
	@$(PROJECT)
	@touch .venv/.demo $@

.venv/.demo: .venv/.demo-packages pyproject.toml
	@$(PROJECT)
	@touch $@

.venv/.all-packages: requirements/dev.txt tests/proxy/node/package-lock.json | .venv/bin/python
	@echo 'Installing requirements/dev.txt into .venv ...'
	@$(UV) pip sync --quiet --python $(BIN)/python --compile-bytecode --require-hashes \
		requirements/dev.txt
	@sh scripts/node_client .venv/node
	@touch .venv/.demo-packages $@

.venv/.demo-packages: requirements/demo.txt | .venv/bin/python
	@echo 'Installing requirements/demo.txt into .venv ...'
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/demo.txt
	@touch $@

.venv/.browser: requirements/browser.txt .venv/.all
	@echo 'Installing requirements/browser.txt into .venv ...'
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/browser.txt
	@touch $@

.venv/bin/python: | $(UV)
	@PYTHON='$(PYTHON)' sh scripts/bootstrap venv

$(UV): requirements/uv.txt scripts/bootstrap
	@PYTHON='$(PYTHON)' sh scripts/bootstrap uv
	@touch $@

# pyproject.toml is the one source; the other files are parts of dev.txt in the same versions.
# Personal sources of packages are left out, so that every lock names what everybody can get.
COMPILE = env -u UV_INDEX -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	$(UV) --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock'

lock: $(UV)
	@$(COMPILE) $(ARGS) pyproject.toml --all-extras --group build --group test --group lint \
		--group deploy --output-file requirements/dev.txt
	@$(COMPILE) pyproject.toml -c requirements/dev.txt --output-file requirements/validate.txt
	@$(COMPILE) pyproject.toml -c requirements/dev.txt --extra proxy --extra fast \
		--output-file requirements/proxy.txt
	@$(COMPILE) pyproject.toml -c requirements/dev.txt --extra demo --group build \
		--output-file requirements/demo.txt
	@$(COMPILE) pyproject.toml -c requirements/dev.txt --extra plugins --no-deps \
		--no-emit-package litellm --output-file requirements/addon.txt
	@$(COMPILE) --group build -c requirements/dev.txt --output-file requirements/build.txt
	@$(COMPILE) -c requirements/dev.txt --group browser --output-file requirements/browser.txt
	@$(COMPILE) --group tools --output-file requirements/uv.txt

clean:
	rm -rf .venv .tools build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
