# Two commands do everything: `make run` sets up and runs the daemon, `make test` sets up and runs all the tests.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
unexport PIP_FIND_LINKS PIP_EXTRA_INDEX_URL

.PHONY: run test lint check prove bench peers pyz onedir onefile deb release smoke prove-systemd lock clean

run: .venv/runtime  ## set up, then run the daemon on its embedded store
	$(BIN)/fliqd serve

test: .venv/dev  ## set up, then run all the tests, one process a core
	$(BIN)/python -m pytest -n auto --maxprocesses 4

lint: .venv/dev  ## ruff and mypy, as CI runs them
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy fliqd tests bench packaging

check: lint test

prove: .venv/dev .venv/prove  ## the promises, tried for long by a new seed; writes docs/reliability.md: make prove [SEED=17] [SHARE=10] [ARGS=tests/prove/test_model.py]
	@echo "SEED=$(SEED)"
	PROVE=long PROVE_SEED=$(SEED) PROVE_SHARE=$(SHARE) $(BIN)/python -m pytest -o faulthandler_timeout=4500 --hypothesis-seed=$(SEED) $(or $(ARGS),tests/prove)
SEED := $(shell date +%s)
SHARE := 100

bench: .venv/dev  ## measure against the bare yardsticks; prints a table of ratios
	$(BIN)/python bench/run.py

peers: .venv/dev  ## measure beside other schedulers, installed for it: make peers ARGS=--apt; see bench/README.md
	cd bench && ../$(BIN)/python -m peers $(ARGS)

pyz: .venv/packaging  ## dist/fliqd.pyz, one file for every supported Python
	packaging/pyz.sh

onedir onefile: .venv/packaging  ## dist/fliqd-VERSION-linux-ARCH, with a Python of its own
	packaging/frozen.sh $@

deb: onedir  ## dist/fliqd_VERSION_ARCH.deb
	packaging/deb.sh

release: .venv/packaging .venv/sbom  ## all of them, twice for equal bytes, tried on all Pythons, with checksums and a bill of materials
	packaging/release.sh

smoke: .venv/packaging  ## the short form: what is built here runs here, in a minute
	packaging/short.sh

prove-systemd:  ## the long proof: the .deb in a Debian of its own, under a real systemd; needs root
	$(PYTHON) packaging/prove_systemd.py

lock:  ## renew the locks after a change of pyproject.toml
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/pip -q install uv
	.venv-lock/bin/uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	.venv-lock/bin/uv pip compile $(LOCK) --extra build -o requirements-build.lock pyproject.toml
	.venv-lock/bin/uv pip compile $(LOCK) --extra dev -o requirements-dev.lock pyproject.toml
	.venv-lock/bin/uv pip compile $(LOCK) --extra packaging -o requirements-packaging.lock pyproject.toml
	echo 'cyclonedx-bom>=7' | .venv-lock/bin/uv pip compile $(LOCK) -o requirements-sbom.lock -
	printf '%s\n' $(PROVERS) | .venv-lock/bin/uv pip compile $(LOCK) -o requirements-prove.lock -
	rm -rf .venv-lock
LOCK := -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header
# Atheris comes ready-built for these, 3.1 not for 3.11; elsewhere its proof is skipped.
PROVERS := "atheris==3.0.*; python_version < '3.14' and sys_platform == 'linux' and platform_machine == 'x86_64'" \
	'schemathesis>=4.32' 'pip-audit>=2.10'

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/runtime: requirements-build.lock pyproject.toml | .venv/bin/python
	$(PIP) install -q --require-hashes -r requirements-build.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	touch $@

.venv/dev: requirements-dev.lock pyproject.toml | .venv/bin/python
	$(PIP) install -q --require-hashes -r requirements-dev.lock
	$(PIP) install -q --no-deps --no-build-isolation -e .
	touch $@ .venv/runtime

.venv/packaging .venv/sbom .venv/prove: .venv/%: requirements-%.lock
	$(PYTHON) -m venv $@
	$@/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r $<
	touch $@

clean:
	rm -rf .venv .venv-lock dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
