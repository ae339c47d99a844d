# Needs only python3 (3.11 or newer) with pip, and make.  make demo | make test
UV := .uv/bin/uv
BIN := .venv/bin
READY := .venv/ready

demo: $(READY)
	$(BIN)/gssm demo

TESTS := pytest -n auto --maxprocesses 4 --dist loadfile --durations 25

test: $(READY)
	$(BIN)/$(TESTS)

# A third slower than the tests alone.
coverage: $(READY)
	rm -f .coverage .coverage.*
	$(BIN)/coverage run -m $(TESTS)
	$(BIN)/coverage combine -q
	$(BIN)/coverage report --fail-under=90

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build

lock: $(UV)
	$(UV) export -q --no-header --no-emit-project --no-annotate --extra test \
		--format requirements-txt -o requirements.lock

$(READY): pyproject.toml requirements.lock | $(UV)
	$(UV) venv -q --allow-existing --python python3 .venv
	$(UV) pip install -q --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(UV) pip install -q --python $(BIN)/python --no-deps -e .
	touch $(READY)

$(UV):
	python3 -m pip install -q --target .uv uv

clean:
	rm -rf .uv .venv demo docs/_build

.PHONY: demo test coverage lint docs lock clean
