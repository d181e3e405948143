# Every target makes the virtual environment it needs; only Python 3.10+ (with venv) and make are required.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
# Of each editable install setuptools warns in a dozen lines, whatever the project looks like, and the newest pip shows them.
INSTALL := PYTHONWARNINGS=ignore $(PIP) install

.PHONY: demo demo-deliver demo-bulk ui docs test test-long coverage lint format lock rooms bench clean

demo: $(VENV)/demo-installed
	$(BIN)/npi-pipeline demo

# Today and yesterday in a DuckDB file and a lake of Parquet, with a few queries.
demo-deliver: $(VENV)/demo-installed
	$(BIN)/npi-pipeline demo --deliver

demo-bulk: $(VENV)/demo-installed
	$(BIN)/npi-pipeline demo --bulk

ui: $(VENV)/demo-installed
	$(BIN)/npi-pipeline demo --ui --deliver

# The documentation as a site in site/; a link that leads nowhere fails. `mkdocs serve` shows it while it is written.
docs: $(VENV)/dev-installed
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# Where it is set, each of the hundreds of processes that the tests start would compile all that it imports anew.
unexport PYTHONDONTWRITEBYTECODE

PYTEST := $(BIN)/pytest --numprocesses 4 --dist loadgroup

# Some rooms alone, with their branch coverage (pyproject.toml): to measure it takes half as long again as the tests.
COVERED := $(addprefix npi_pipeline_tests/,providers registries schema state_files)

test: $(VENV)/ministack/installed $(VENV)/compiled
	$(PYTEST) -m 'not long' $(addprefix --ignore=,$(COVERED))
	$(PYTEST) -m 'not long' --cov --cov-report term $(COVERED)

# The real daemon over days of trouble, answers of eight megabytes, and what of a sweep is like another of its cases.
test-long: $(VENV)/dev-installed $(VENV)/ministack/installed
	$(BIN)/pytest --numprocesses 2 --hypothesis-profile=new_examples -m long
	$(BIN)/pytest --numprocesses 2 --hypothesis-profile=new_examples -m 'not long' \
		$$(grep -rlE '^(from|import) hypothesis' npi_pipeline_tests --include='test_*.py')

coverage: $(VENV)/dev-installed $(VENV)/ministack/installed
	$(PYTEST) --cov --cov-report term $(COVERED)

lint: $(VENV)/dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/dev-installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The versions that the tests ran with, for `pip install --constraint`.
lock: $(VENV)/dev-installed
	$(PIP) freeze --exclude-editable > requirements.lock

# Which room imports which, lines per room, the longest file.
rooms: $(VENV)/dev-installed
	$(BIN)/python -m npi_pipeline_tests.rooms

bench: $(VENV)/dev-installed
	for benchmark in benchmarks/*.py; do echo "== $$benchmark"; PYTHONPATH=. $(BIN)/python $$benchmark || exit 1; done

clean:
	rm -rf $(VENV) .demo build *.egg-info

# With the newest pip: that of Python 3.11 takes three times its CPU to find out what to install.
$(BIN)/pip:
	$(PYTHON) -m venv --upgrade-deps $(VENV)

$(VENV)/demo-installed: pyproject.toml | $(BIN)/pip
	@echo "Installing what the demo needs into $(VENV): a minute or two, and not again."
	$(INSTALL) --editable '.[demo]'
	touch $@

# Without compiling: most of what it installs is never imported, and the rest is compiled then.
$(VENV)/dev-installed: pyproject.toml | $(BIN)/pip
	$(INSTALL) --no-compile --editable '.[dev]'
	touch $@ $(VENV)/demo-installed

# What the tests import, once: else each of the processes that run them compiles all of it at the same time.
$(VENV)/compiled: $(VENV)/dev-installed
	-$(BIN)/pytest --collect-only --quiet > $@

# A second S3 for the tests. It pins a botocore that is not ours.
$(VENV)/ministack/installed: | $(BIN)/pip
	$(PYTHON) -m venv --without-pip $(VENV)/ministack
	$(PIP) --python $(VENV)/ministack install --no-compile ministack==1.5.33
	touch $@
