# tickpath: two commands do all the set-up: make demo, make test

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   := out/demo.pcap
DEMO_MESSAGES ?= 1000000

.PHONY: demo test test-long lint bench clean debian-packages

demo: $(VENV)/.demo
	@mkdir -p out
	@echo "== generating a synthetic trading session"
	@$(BIN)/tickpath generate $(DEMO) --messages $(DEMO_MESSAGES) --symbols 1000 --seed 7
	@echo "== replaying it through the whole pipeline"
	@$(BIN)/tickpath replay $(DEMO) --strategy tickpath.samples:imbalance_taker --report report.html
	@echo "== open report.html in a browser"

test: $(VENV)/.test debian-packages lint
	$(BIN)/python -m pytest -m "not long"

test-long: $(VENV)/.test debian-packages
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

$(VENV)/.demo: pyproject.toml | $(VENV)/bin/pip
	@echo "== installing into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[report]'
	@touch $@

$(VENV)/.test: pyproject.toml | $(VENV)/bin/pip
	@echo "== installing what the tests need into $(VENV)"
	@$(BIN)/pip install --quiet --editable '.[test]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(VENV)/bin/pip
	@$(BIN)/pip install --quiet --editable '.[report,bench]'
	@touch $@

# Independent decoders and a browser for the tests; without them those tests are skipped by name.
debian-packages:
	@sh .ci/debian-packages tshark chromium

clean:
	rm -rf out build report.html $(VENV) pipeline/*.egg-info *.egg-info
