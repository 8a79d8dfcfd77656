# The commands of the README. Each makes .venv and installs what it needs.
#
#   make report                      the recipe in params.yaml, to results/report.html
#   make pictures                    only train, sample, enlarge and weave; make report goes on
#   make report RECIPE=tiny.yaml     another recipe: replaces params.yaml; keeps a copy if it was edited
#   make recipe RECIPE=tiny.yaml     the same without running it
#   make quick                       the tests that take under two minutes
#   make test                        every test that this machine can run
#   make test-lowest                 the same with the lowest versions that pyproject.toml allows
#   make test-newest                 ... with the newest

PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
BIN := .venv/bin

.PHONY: report pictures recipe quick test test-lowest test-newest

report: TARGET = results/report.html
report: WHERE = Open results/report.html
pictures: TARGET = pictures
pictures: WHERE = Samples are in results/samples, animations in results/animations, \
	enlarged samples, tiles and cloths in results/cloths. To measure them: make report
report pictures: .venv/installed $(if $(RECIPE),recipe)
	$(BIN)/python -m snakemake --cores $(CORES) $(TARGET)
	@echo "$(WHERE)"

recipe: .venv/installed
	@$(BIN)/ganloom recipe "$(or $(RECIPE),$(error which recipe? RECIPE=tiny.yaml))" --out params.yaml

# The tests that take under two minutes together.
QUICK = archive augment credits curate diffaugment docs doctor google groups images matching objectives params \
	pipeline privacy receipt recipes resampling sampling searches similarity sources urls web
quick: .venv/installed-test
	$(BIN)/python -m pytest -n $(CORES) --dist worksteal \
		-m "not engines and not data and not browser and not slurm" $(QUICK:%=tests/test_%.py)

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
