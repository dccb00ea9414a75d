# make fig1 ... fig7 [VARIANT=quick|digits|scaled|paper], make test, make bench: each sets up what it needs.
PYTHON ?= python3
VARIANT ?= quick
# locked: requirements.lock; lowest: the oldest versions that pyproject.toml allows; newest: what pip finds
VERSIONS ?= locked
VENV := .venv$(if $(filter-out locked,$(VERSIONS)),-$(VERSIONS))
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

ifeq ($(filter locked lowest newest,$(VERSIONS)),)
$(error VERSIONS=$(VERSIONS): must be locked, lowest or newest)
endif

.DEFAULT_GOAL := help
.PHONY: help setup variant data fig1 fig2 fig3 fig4 fig5 fig6 fig7 test lint docs bench mutants clean

help:
	@echo "make fig2 [VARIANT=quick|digits|scaled|paper]  Fig. 2 of the paper on real Fashion-MNIST (quick: about 2 minutes)"
	@echo "make fig1, fig3, fig4, fig5, fig6, fig7        the same for the other figures"
	@echo "make test [VERSIONS=lowest|newest]             linter, formatter check, type checker and the test suite"
	@echo "make docs                                      builds the site in build/site"
	@echo "make data                                      prepares Fashion-MNIST"
	@echo "make bench [DEVICE=gpu]                        times everything beside its peers (installs them in .venv-bench)"
	@echo "make mutants [MODULE=FILE] [MOST=20] [AGAIN=1]  puts small faults into modules, which tests should notice"
	@echo "make clean                                     removes the virtual environments and caches, not runs/"

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
define install_locked
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
endef
define install_lowest
	$(PIP) uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --resolution=lowest-direct -e '.[dev]'
endef
define install_newest
	$(PIP) --upgrade -e '.[dev]'
endef

setup: $(STAMP)

$(STAMP): pyproject.toml requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "error: no '$(PYTHON)'; install Python 3.11 or newer, or say which: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is `$(PYTHON) --version`; edgechaos needs 3.11 or newer: make PYTHON=python3.12"; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "error: $(PYTHON) has no venv module; on Debian: apt-get install python3-venv"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(install_$(VERSIONS))
	@touch $@

# where neither cache nor download serves, Debian's package does, if apt-get may be used
data: setup
	@$(BIN)/python -m edgechaos.data || { \
		command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] || exit 2; \
		echo "installing Debian's package dataset-fashion-mnist"; \
		{ apt-get install -y -qq dataset-fashion-mnist || { apt-get update -qq && apt-get install -y -qq dataset-fashion-mnist; }; } >/dev/null && \
		$(BIN)/python -m edgechaos.data; }

variant:
	@case " quick digits scaled paper " in *" $(VARIANT) "*) ;; *) echo "error: VARIANT=$(VARIANT): must be one of quick, digits, scaled, paper"; exit 2;; esac

define draw
	@$(BIN)/python -m experiments.$@ --config=configs/$@.py:$(VARIANT)
	@echo "the picture:           runs/$@-$(VARIANT)/$@.png"
	@echo "the paper's full run:  make $@ VARIANT=paper"
endef
DATA := $(if $(filter digits,$(VARIANT)),,data)

fig1: variant setup
	$(draw)

fig2: variant setup $(DATA)
	$(draw)

fig3: variant setup $(DATA)
	$(draw)

fig4: variant setup $(DATA)
	$(draw)

fig5: variant setup $(DATA)
	$(draw)

fig6: variant setup $(DATA)
	$(draw)

fig7: variant setup $(DATA)
	$(draw)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# the linters are those of the lock
test: setup $(if $(filter locked,$(VERSIONS)),lint)
	$(BIN)/python -m pytest -n auto --dist loadfile

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "the site: build/site/index.html"

# cpu: everything; gpu: what runs on one device, beside the same on the CPU's files, in results/bench/gpu
DEVICE ?= cpu
BENCHMARKS := members phase_diagram theory hold startup sweep growth longrun
ifeq ($(filter cpu gpu,$(DEVICE)),)
$(error DEVICE=$(DEVICE): must be cpu or gpu)
endif
ifeq ($(DEVICE),gpu)
BENCH_OUT := results/bench/gpu
BENCH_EXTRA := [bench,search,cuda]
BENCHMARKS := epoch $(BENCHMARKS)
else
BENCH_OUT := results/bench
BENCH_EXTRA := [bench,search]
BENCHMARKS := epoch conversion processes quadrature $(BENCHMARKS)
endif

# a second environment, because Keras and PyTorch pin packages of their own
.venv-bench/.installed-$(DEVICE): pyproject.toml
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -e '.$(BENCH_EXTRA)'
	@touch $@

bench: .venv-bench/.installed-$(DEVICE) data
	@for name in $(BENCHMARKS); do \
		echo "$$name"; JAX_PLATFORMS=$(if $(filter gpu,$(DEVICE)),cuda,cpu) .venv-bench/bin/python -m benchmarks.$$name --output=$(BENCH_OUT)/$$name.json || exit 1; \
	done
	.venv-bench/bin/python -m benchmarks.report

# cosmic-ray has an environment of its own; the tests run in that of the lock
.venv-mutants/.installed: Makefile
	$(PYTHON) -m venv .venv-mutants
	.venv-mutants/bin/python -m pip install --quiet --disable-pip-version-check 'cosmic-ray==8.7.0'
	@touch $@

mutants: setup .venv-mutants/.installed
	.venv-mutants/bin/python -m tests.mutants --python=$(BIN)/python $(if $(MODULE),--module=$(MODULE)) $(if $(MOST),--most=$(MOST)) $(if $(AGAIN),--again)
	.venv-mutants/bin/python -m tests.mutants --report

clean:
	rm -rf .venv .venv-lowest .venv-newest .venv-bench .venv-mutants build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
