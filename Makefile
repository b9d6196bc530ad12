# make demo   photos -> a proven LoRA -> a page that shows it, on any laptop
# make test   everything that is checked
# make test-slow   the long fuzzing too
# make test-floors   models and training once more, on the oldest diffusers and peft that pyproject.toml admits
# make lint   style, types and import layers only
# Each needs Python 3.11 or newer and nothing else: it makes its own .venv.

SHELL := /bin/bash
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
BIN := .venv/bin
CPU_TORCH := https://download.pytorch.org/whl/cpu
# Two workers with one thread each: tensors in tests are too small to share.
WORKERS ?= 2

.PHONY: demo test test-slow test-floors lint clean

demo: .venv/installed
	$(BIN)/flux-lora run recipe=demo
	$(BIN)/python -m scripts.judge_demo runs/demo

test: .venv/installed-dev lint
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --durations 10

test-slow: .venv/installed-dev
	OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -n $(WORKERS) -m slow --durations 10

# The oldest releases lie beside the environment and are found before its own. diffusers 0.40 needs httpx.
.floors/installed: .venv/installed-dev
	rm -rf .floors
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --target .floors \
		diffusers==0.40.0 peft==0.18.0 httpx httpcore h11 anyio
	@touch $@

test-floors: .floors/installed
	PYTHONPATH=.floors $(BIN)/python -c "import diffusers, peft; print('floors: diffusers', diffusers.__version__, 'peft', peft.__version__)"
	PYTHONPATH=.floors OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile \
		tests/models tests/train tests/render tests/adapter/test_attach.py tests/test_same_losses.py

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

clean:
	rm -rf .venv .floors build dist

# torch's wheel on PyPI for Linux brings gigabytes of CUDA. Without an NVIDIA GPU, the wheels of PyTorch's own CPU
# index are offered too: 2.13.0+cpu sorts above 2.13.0, so pip takes it. A pip that finds such a wheel by itself
# (find-links) does the same with no index; one that reaches neither still gets a torch that works, only larger.
.venv/torch:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found"; echo "fix: install it, or: make PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if nvidia-smi -L >/dev/null 2>&1; then echo "an NVIDIA GPU: torch comes with CUDA"; else \
		offer=""; \
		if $(BIN)/python -c 'import urllib.request as u; u.urlopen("$(CPU_TORCH)/torch/", timeout=5)' 2>/dev/null; \
		then offer="--extra-index-url $(CPU_TORCH)"; fi; \
		$(BIN)/python -m pip install -q --disable-pip-version-check $$offer "torch>=2.6,<2.14"; fi
	@touch $@

.venv/installed: .venv/torch pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/installed-dev: .venv/torch pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]"
	@touch $@ .venv/installed
