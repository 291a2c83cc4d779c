# Everything a newcomer or CI runs. Each target sets up what it needs: a virtual environment in the checkout, with the
# versions of constraints.txt.
PYTHON ?= python3
BASE := .venv-base
DEV := .venv
TENSORRT := .venv-tensorrt
FUZZ := .venv-fuzz
FUZZ_S ?= 60
ATTACK_S ?= 600
SOAK_H ?= 24
MUTANTS ?= 40
SEED ?= 0
JOBS ?= 1
BUNDLE := sdk/demo/data/walk.bundle
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: help demo test lint format bench gate fuzz attack soak mutants test-device stream-device clean

help:
	@echo "make demo     install the base (no torch) and run the main job on what the package carries"
	@echo "make test     install what the tests need and run them all"
	@echo "make lint     ruff and mypy"
	@echo "make format   let ruff lay out the code"
	@echo "make bench    run every benchmark once, quickly"
	@echo "make gate     ask TensorRT for RTX, which needs no GPU for it, whether it takes what we export"
	@echo "make fuzz     strange files for each reader, FUZZ_S=60 seconds each; what breaks one stays in build/fuzz"
	@echo "make attack   races, storms, floods, strange text for ATTACK_S=600 seconds: how many were survived, of how many"
	@echo "make soak     SOAK_H=24 hours of a signal with faults, as fast as it goes: do memory, files, disk, threads stay flat?"
	@echo "make mutants  MUTANTS=40 small faults put into the code, SEED=0: how many the closest tests notice, and which not"
	@echo "make test-device ON='ssh pi --'       the runtime's tests where ON runs a command: a board or an emulator that sees"
	@echo "                                      this folder and has numpy, scipy, onnxruntime, pytest, hypothesis, safetensors"
	@echo "make stream-device ON='vm -m 256 --'  a recording streamed there, such as on a machine of little memory"
	@echo "make clean    remove the virtual environments and what was built"

demo: $(BASE)/.installed
	$(BASE)/bin/python -m sdk.demo

test: $(DEV)/.installed
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest --numprocesses 3 --dist worksteal

lint: $(DEV)/.installed
	$(DEV)/bin/ruff check .
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/python -m mypy

format: $(DEV)/.installed
	$(DEV)/bin/ruff format .
	$(DEV)/bin/ruff check --fix .

bench: $(DEV)/.installed
	$(DEV)/bin/python -m benchmarks stream --quick

# A full gate, with every encoder in its published size: SENSEDGE_GATE=full make gate
gate: $(DEV)/.installed $(TENSORRT)/.installed
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m pytest tests/exporters/test_tensorrt_gate.py

# Each reader begins with a good file of the shipped bundle, and goes on with what it found interesting last time.
fuzz: $(FUZZ)/.installed
	for pair in manifest:manifest.json signatures:manifest.json tensors:weights.safetensors npz:golden.npz \
	    zip:golden.npz graph:train/04.onnx; do \
	    reader=$${pair%%:*}; mkdir -p build/fuzz/$$reader; \
	    $(FUZZ)/bin/python tests/fuzz/fuzz_readers.py $$reader -max_total_time=$(FUZZ_S) -timeout=10 \
	        -rss_limit_mb=2048 -artifact_prefix=build/fuzz/$$reader- -seed_inputs=$(BUNDLE)/$${pair#*:} \
	        build/fuzz/$$reader || exit 1; \
	done

attack: $(DEV)/.installed
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m tests.attacks.long --seconds $(ATTACK_S)

soak: $(DEV)/.installed
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m tests.soak --hours $(SOAK_H)

# In copies of the checkout. What was found stays in build/mutants.jsonl: the same command goes on where it was stopped.
mutants: $(DEV)/.installed
	mkdir -p build
	OMP_NUM_THREADS=1 $(DEV)/bin/python -m tests.mutants --n $(MUTANTS) --seed $(SEED) --jobs $(JOBS) \
	    --keep build/mutants.jsonl

# ON is put before the command; bundles are exported here, as a device has no torch.
test-device: $(DEV)/.installed
	rm -rf build/bundles
	$(DEV)/bin/python -m tests.ship_bundles build/bundles
	$(ON) env SENSEDGE_BUNDLES=build/bundles python -m pytest -p no:cacheprovider tests/runtime

stream-device:
	$(ON) python -m sdk.stream $(BUNDLE) --replay sdk/demo/data/person_6.npz | tail -n 4

clean:
	rm -rf $(BASE) $(DEV) $(TENSORRT) $(FUZZ) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(BASE)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install $(PIP_FLAGS) --editable .
	touch $@

# torch's constraint picks a CPU build where there is one; the open range would take gigabytes of CUDA.
$(DEV)/.installed: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEV)
	$(DEV)/bin/python -m pip install $(PIP_FLAGS) --editable ".[dev]"
	touch $@

# Of its own, as it is large and under NVIDIA's licence. The tests look for it here: exporters/tensorrt/gate.py.
$(TENSORRT)/.installed: constraints.txt
	$(PYTHON) -m venv $(TENSORRT)
	$(TENSORRT)/bin/python -m pip install $(PIP_FLAGS) tensorrt-rtx-cu13 numpy
	touch $@

$(FUZZ)/.installed: setup.cfg constraints.txt
	$(PYTHON) -m venv $(FUZZ)
	$(FUZZ)/bin/python -m pip install $(PIP_FLAGS) --editable . atheris
	touch $@
