# tickpath: two commands do all the set-up: make demo, make test

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := out/demo.pcap
DEMO_MESSAGES ?= 1000000

# What an installation compiles: it is made again where these change.
NATIVE := setup.py $(wildcard native/*.c native/*.cpp native/*.h)

.PHONY: demo test test-long lint bench clean debian-packages native

demo: $(VENV)/.demo
	@mkdir -p out
	@echo "== generating a synthetic trading session"
	@$(BIN)/tickpath generate $(DEMO) --messages $(DEMO_MESSAGES) --symbols 1000 --seed 7
	@echo "== replaying it through the whole pipeline"
	@$(BIN)/tickpath replay $(DEMO) --strategy tickpath.samples:imbalance_taker --report report.html
	@echo "== open report.html in a browser"

test: debian-packages $(VENV)/.test native lint
	$(BIN)/python -m pytest -m "not long"

test-long: debian-packages $(VENV)/.test native
	$(BIN)/python -m pytest -m "long" --timeout 3600

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench
	@mkdir -p out
	$(BIN)/tickpath bench --report out/bench.html

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "tickpath needs Python 3.11 or newer: apt-get install python3.11 python3.11-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "no venv module: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.demo: pyproject.toml $(NATIVE) | $(VENV)/bin/pip
	@echo "== installing into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[report]'
	@touch $@

$(VENV)/.test: pyproject.toml $(NATIVE) | $(VENV)/bin/pip
	@echo "== installing what the tests need into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.bench: pyproject.toml $(NATIVE) | $(VENV)/bin/pip
	@$(BIN)/pip install --quiet --editable '.[report,bench]'
	@touch $@

# Libraries may have come after the installation: what could not be built then is built now.
native: $(VENV)/.test
	@$(BIN)/python -c 'import tickpath_backends._dpdk' 2>/dev/null || \
	  $(BIN)/python -m tickpath_backends.build dpdk || true
	@$(BIN)/python -c 'import tickpath_backends._alveo' 2>/dev/null || \
	  $(BIN)/python -m tickpath_backends.build alveo || true

# Independent decoders, a browser, what native parts are built with, DPDK with its drivers, XRT, and
# the programs that deploy/ has files for (promtool is in prometheus, which is too large to bring);
# without them those tests are skipped by name.
debian-packages:
	@sh .ci/debian-packages tshark chromium gcc g++ libc6-dev python3-dev pkg-config libdpdk-dev libxrt-dev iproute2 haproxy keepalived

clean:
	rm -rf out build report.html $(VENV) pipeline/*.egg-info *.egg-info
