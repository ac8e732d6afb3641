# Every target makes its own .venv: Python 3.11+ and make are enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Most tests wait for processes for a part of their time: more workers than cores.
WORKERS ?= 3

.PHONY: help demo demo-log test test-again peers test-peers test-peers-again check check-workflows codes docs man pictures coverage bench bench-log bench-local bench-kinds bench-decision bench-evaluation bench-overload \
	bench-wholesale bench-instances bench-quorum soak soak-decision format clean

help:
	@echo "make demo    handwritten digits being sorted; the champion is killed meanwhile"
	@echo "make demo-log  a short show of the log by itself"
	@echo "make test    the test suite (about twelve minutes)"
	@echo "make test-peers  tests with other people's servers and libraries (MLflow, MLServer, CatBoost, ...)"
	@echo "make check   ruff, mypy, import-linter"
	@echo "make docs    the documentation, into build/docs/site; a dead link is an error"
	@echo "make man     man pages, into build/man"
	@echo "make pictures  the pictures of the README, from a real run"
	@echo "make check-workflows  the workflow files of .github, by actionlint (needs Go)"
	@echo "make codes   CODES.md, from the code"
	@echo "make coverage  how often the intervals cover the truth, into docs/explanation"
	@echo "make bench   the benchmarks, as ratios to a baseline in the same run"
	@echo "make bench-overload bench-wholesale bench-instances bench-quorum  those under pressure"
	@echo "make soak    the long tests"
	@echo "make soak-decision  ten minutes at 2,000 requests/s: memory, disk, the SLA"

$(READY): pyproject.toml hatch_build.py $(wildcard rdv/native/*.[ch])
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rdv needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(READY)

demo: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash demo/digits.sh

demo-log: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash demo/log.sh

test: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

AGAIN := -p no:xdist --last-failed --last-failed-no-failures none

test-again: $(READY)
	$(BIN)/python -m pytest $(AGAIN)

# Other people's servers and libraries, each in an environment of its own: tests/peers/README.md.
PEERS := $(patsubst tests/peers/environments/%.txt,$(VENV)-peers/%/.ready,$(wildcard tests/peers/environments/*.txt))

$(VENV)-peers/%/.ready: tests/peers/environments/%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

peers: $(READY) $(PEERS)

test-peers: $(READY)
	@$(MAKE) --no-print-directory -j2 peers
	RDV_PEERS=$(CURDIR)/$(VENV)-peers $(BIN)/python -m pytest tests/peers

test-peers-again: $(READY)
	RDV_PEERS=$(CURDIR)/$(VENV)-peers $(BIN)/python -m pytest tests/peers $(AGAIN)

codes: $(READY)
	$(BIN)/python tests/test_codes.py > CODES.md.new && mv CODES.md.new CODES.md

docs: $(VENV)/.docs
	$(BIN)/python docs/build.py

man: $(READY)
	$(BIN)/python docs/man.py

pictures: $(READY)
	$(BIN)/python docs/pictures.py

$(VENV)/.docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'zensical>=0.0.73'
	touch $@

check-workflows:
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: $(READY)
	$(BIN)/python -m benchmarks.coverage > coverage.new && mv coverage.new docs/explanation/coverage.md

bench: bench-log bench-decision bench-evaluation

bench-decision: $(READY)
	$(BIN)/python -m benchmarks.decision

bench-evaluation: $(READY)
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.replay_speed

bench-local: $(READY)
	$(BIN)/python -m benchmarks.local

bench-kinds: $(READY)
	$(BIN)/python -m benchmarks.kinds

bench-log: $(READY)
	$(BIN)/python -m benchmarks.log

bench-overload: $(READY)
	$(BIN)/python -m benchmarks.overload

bench-wholesale: $(READY)
	$(BIN)/python -m benchmarks.wholesale

bench-instances: $(READY)
	$(BIN)/python -m benchmarks.instances

bench-quorum: $(READY)
	$(BIN)/python -m benchmarks.quorum --processes

soak: $(READY)
	$(BIN)/python -m pytest -m soak --timeout 3600
	RDV_EXAMPLES=20 $(BIN)/python -m pytest -m '(hypothesis or sweep) and not soak' --timeout 3600

soak-decision: $(READY)
	$(BIN)/python -m benchmarks.soak_decision

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) $(VENV)-peers .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
