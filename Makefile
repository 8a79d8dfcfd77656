# The two commands of the README. Both make .venv and install what they need.
#
#   make report                      the recipe in params.yaml, to results/report.html
#   make report RECIPE=tiny.yaml     another recipe: replaces params.yaml
#   make test                        every test that this machine can run
#   make test-lowest                 the same with the lowest versions that pyproject.toml allows
#   make test-newest                 ... with the newest

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := .venv/bin
FILE = $(or $(firstword $(wildcard $(RECIPE) recipes/$(RECIPE))),$(error no such recipe: $(RECIPE)))

.PHONY: report test test-lowest test-newest

report: .venv/installed
ifdef RECIPE
	cmp -s $(FILE) params.yaml || { cp params.yaml params.yaml~; cp $(FILE) params.yaml; }
endif
	@git rev-parse --git-dir >/dev/null 2>&1 || \
		{ echo "This folder is not a Git repository, which DVC needs: git init && git add . && git commit -m Start"; exit 1; }
	$(BIN)/python -m snakemake --cores $(CORES) results/report.html
	@echo "Open results/report.html"

test: .venv/installed-test
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal $(PYTEST_ARGS)

test-lowest test-newest: test-%:
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet uv
	.venv-$*/bin/uv pip install --python .venv-$*/bin/python --editable '.[test]' \
		--resolution $(if $(filter lowest,$*),lowest-direct,highest)
	.venv-$*/bin/python -m pytest -n $(CORES) --dist worksteal $(PYTEST_ARGS)

# constraints.txt: the versions that the pictures and figures in docs/ were made with.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/installed-test: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	touch $@
