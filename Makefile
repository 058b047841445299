# `make chat` opens the chat, `make test` runs the tests; both set up .venv first. PYTHON=… picks another Python.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; exit; }; done; echo python3)
EXTRAS ?= dev
export LLAMA_WHEELS

.PHONY: chat test check screenshots wheel model clean

chat:  ## open the chat; ARGS='--resume last' passes flags on, EXTRAS=train adds what training needs
	@$(PYTHON) .ci/set_up.py $(filter-out dev,$(EXTRAS))
	@.venv/bin/chatapp $(ARGS)

test:  ## all tests; EXTRAS='dev train peer' runs the ones that need torch or a peer too
	@$(PYTHON) .ci/set_up.py $(EXTRAS)
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/python -m pytest -n 2 --dist loadfile $(TESTS)

screenshots:  ## draw the README's two pictures, with the embedded model
	@$(PYTHON) .ci/set_up.py dev
	.venv/bin/python -m chatapp.tui.screenshots --out data/screens --real --scene chat --scene ranking \
		--size 110x24 --theme chatapp-dark

wheel:  ## build the wheel, embedded model included, into dist/
	@$(PYTHON) .ci/set_up.py dev
	.venv/bin/python -m build --wheel

model:  ## train the embedded model again; DATA=folder of the dialogue sources
	$(PYTHON) models/default/recipe/build.py --data $(DATA) --out models/default

clean:  ## remove .venv and build products; never anything a user wrote
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
