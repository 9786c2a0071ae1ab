PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What depends on being installed: entry points, data files, commands in processes of their own.
WHEEL_TESTS := tests/eval/test_house.py tests/eval/test_cli.py tests/eval/test_registry.py tests/model/test_adapter.py \
	tests/tasks/test_synthetic_opinions.py tests/tasks/test_synthetic_digits.py tests/tasks/test_imagenet.py

.PHONY: demo test check wheel-test docs lines clean

demo: $(VENV)/.installed  ## evaluate the bundled model on five tasks, zero- and four-shot
	$(BIN)/kosmos-eval run --shots 0,4 --limit 200 --out results/runs/demo

test: $(VENV)/.installed-test  ## run the tests
	$(BIN)/pytest -n auto

check: $(VENV)/.installed-test  ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel-test: $(VENV)/.installed-test  ## run the tests against the built wheel, from another folder
	rm -rf build/wheel && $(BIN)/python -m build --wheel --no-isolation --outdir build/wheel . >/dev/null
	$(BIN)/python tests/against_wheel.py build/wheel -n auto $(WHEEL_TESTS)

docs: $(VENV)/.installed-docs  ## build the documentation in build/docs, without a network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lines:  ## count the lines of code by package
	@$(PYTHON) -m benchmarks.lines

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
