# Every target makes its own environment from the pinned lock first.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup browser check test test-all bench bench-text demo reference clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or say make setup PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@# compiled once here, so that every command starts fast even where Python is told to write no bytecode
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true
	@touch $(READY)

# The tests of the page drive Chromium. It is installed where that may be done, and never in the way: without it they are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
		test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		(timeout 60 apt-get update -q && timeout 120 apt-get install -q -y --no-install-recommends chromium) >/dev/null 2>&1; } || \
		echo "no Chromium here: the tests of the page are skipped (as root: apt-get install chromium)"

check: setup
	@$(BIN)/python -m compileall -q bessemer
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py tests/test_budgets.py tests/test_light.py
	$(BIN)/python -m pytest --doctest-modules bessemer

test: check browser
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: check browser
	$(BIN)/python -m pytest -n 2

bench: setup
	$(BIN)/python -m benchmarks

bench-text: setup
	$(BIN)/python -m benchmarks.text

# To a file of its own first, so that a failure leaves the page as it was.
reference: setup
	$(BIN)/python -m bessemer.app.reference > docs/reference.md.part
	@mv docs/reference.md.part docs/reference.md

demo: setup
	@$(BIN)/python -m compileall -q bessemer
	$(BIN)/bessemer run recipes/sentiment.yaml

clean:
	rm -rf $(VENV) runs build *.egg-info
