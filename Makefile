# llmadmin: `make run` starts everything, `make test` tests it; both work from a fresh clone with Python 3.11 and make.

PY := .venv/bin/python
CODE := core jobs providers runtimes tenants usage gateway llmadmin

.PHONY: help run test check bench format lock clean

help:
	@echo "make run    start web, worker and scheduler in the foreground (Ctrl-C ends them)"
	@echo "make test   run the tests on every backend that answers"
	@echo "make check  lint, types, layers, templates"
	@echo "make bench  what the gateway costs beside nginx, LiteLLM and Portkey (downloads them into var/)"
	@echo "make lock   write requirements*.txt anew from pyproject.toml"
	@echo "make clean  remove the virtual environment and the caches; var/ stays"

# Makes the virtual environment, and installs $(1) when it is not what is installed already.
define install
	@test -x $(PY) && $(PY) -c '' 2>/dev/null || { \
	  for py in python3.11 python3 python3.12 python3.13; do \
	    command -v $$py >/dev/null 2>&1 && $$py -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; py=; \
	  done; \
	  test -n "$$py" || { echo "llmadmin needs Python 3.11 or newer; none is on the PATH." >&2; exit 1; }; \
	  echo "Creating .venv with $$($$py --version)"; rm -rf .venv; \
	  $$py -m venv .venv || { rm -rf .venv; echo "Python's venv module is missing (Debian: apt install python3-venv)." >&2; exit 1; }; }
	@cmp -s $(1) .venv/installed-$(1) || { \
	  echo "Installing $(1)" && \
	  $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1) && cp $(1) .venv/installed-$(1); }
endef

run:
	$(call install,requirements.txt)
	@exec $(PY) manage.py run

test:
	$(call install,requirements-dev.txt)
	@$(PY) -m tests

check:
	$(call install,requirements-dev.txt)
	@$(PY) -m tests.check

bench:
	$(call install,requirements-dev.txt)
	@$(PY) -m bench.run $(ARGS)

format:
	$(call install,requirements-dev.txt)
	@$(PY) -m ruff format . && $(PY) -m ruff check --fix .

lock:
	@command -v uv >/dev/null 2>&1 || { echo "make lock needs uv (pip install uv)." >&2; exit 1; }
	uv pip compile -q --generate-hashes --python-version 3.11 pyproject.toml -o requirements.txt
	uv pip compile -q --generate-hashes --python-version 3.11 pyproject.toml --group dev -o requirements-dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(CODE) tests -name __pycache__ -type d -prune -exec rm -rf {} +
