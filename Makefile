# Everything runs from here; `make help` lists it. The two commands a new user needs: make run, make test.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
export UV_PYTHON_DOWNLOADS := never
export UV_LINK_MODE ?= copy

UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
ifneq ($(shell id -u),0)
SUDO := sudo -n
endif
APT_RUN := libflite1 espeak-ng
APT_TEST := sip-tester baresip tshark redis-server chromium kamailio haproxy
APT_CLUSTER := kamailio rtpengine-daemon haproxy redis-server
APT_TRAIN := libfst-tools libfst22 espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
CONFIG ?=
ARGS ?=
BUDGET_MIN ?= 240

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

# ---------------------------------------------------------------- installing

.tools/bin/uv:
	@echo "== installing uv $(UV_VERSION), the package installer, into .tools"
	@python3 -c 'import ensurepip, venv' 2>/dev/null || { echo "== installing python3-venv"; \
	  $(SUDO) apt-get update -qq; $(SUDO) apt-get install -y -qq python3-venv; }
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

$(VENV)/bin/python: | $(if $(findstring .tools,$(UV)),.tools/bin/uv)
	@python3 -c 'import sys; v=sys.version_info[:2]; sys.exit(0 if (3,11)<=v<(3,13) else f"Python 3.11 or 3.12 is needed, python3 is {v[0]}.{v[1]}")'
	$(UV) venv --quiet --python python3 $(VENV)

$(RUN_STAMP): requirements.lock pyproject.toml sip-test-harness/pyproject.toml | $(VENV)/bin/python
	@echo "== installing Python packages (about 420 MB, once)"
	$(UV) pip install --python $(BIN)/python -r requirements.lock
	$(UV) pip install --python $(BIN)/python --quiet --no-deps -e . -e ./sip-test-harness
	@.ci/debian-packages $(APT_RUN) || echo "== the default voice needs libflite1; 'voicebot doctor' says what works without it"
	@touch $@

$(DEV_STAMP): requirements-dev.lock $(RUN_STAMP)
	@echo "== installing the test tools"
	$(UV) pip install --python $(BIN)/python -r requirements-dev.lock
	@.ci/debian-packages $(APT_TEST) || echo "== the Debian peers are missing: their tests will fail and say so"
	@.ci/debian-packages chromium-driver || echo "== without chromium-driver the QA report is not tried in a browser"
	@touch $@

.PHONY: install install-dev lock
install: $(RUN_STAMP) ## Install what `make run` needs
install-dev: $(DEV_STAMP) ## Install what `make test` needs

lock: ## Pin all packages anew (requirements*.lock)
	$(UV) pip compile -q --no-header --no-annotate --python-version 3.11 pyproject.toml sip-test-harness/pyproject.toml -o requirements.lock
	$(UV) pip compile -q --no-header --no-annotate --python-version 3.11 --group dev pyproject.toml sip-test-harness/pyproject.toml | grep -v '^-e ' > requirements-dev.lock

# ---------------------------------------------------------------- using

.PHONY: run call doctor cluster-demo
run: $(RUN_STAMP) ## Start the bot on 127.0.0.1:5060 with the bank sample
	$(BIN)/voicebot serve $(if $(CONFIG),--config $(CONFIG)) $(ARGS)

call: $(RUN_STAMP) ## In a second terminal: place a scripted call and show what happened
	$(BIN)/sip-test-harness call sip:bank@127.0.0.1:5060 --script dialplans/calls/balance.yaml --record-dir var $(ARGS)

doctor: $(RUN_STAMP) ## Say what is installed, what is missing and what to do
	$(BIN)/voicebot doctor $(if $(CONFIG),--config $(CONFIG))

cluster-demo: $(RUN_STAMP) ## A cluster on this machine, killed part by part while calls go on (about two minutes)
	@.ci/debian-packages $(APT_CLUSTER)
	@$(BIN)/python -c 'import redis' 2>/dev/null || $(UV) pip install --python $(BIN)/python --quiet redis
	$(BIN)/python deploy/cluster_demo.py

# ---------------------------------------------------------------- proving

.PHONY: qa-demo
qa-demo: $(DEV_STAMP) ## Record two calls, replay them over bad networks, write var/qa-demo/report.html
	$(BIN)/python -m tests.qa.demo $(ARGS)

.PHONY: test test-long test-coqui test-llm test-deploy check format bench bench-tts bench-asr bench-turns bench-router bench-failover bench-capacity
# Two files at a time, shuffled in the same way each time, so that a failure can be seen again.
test: $(DEV_STAMP) ## Set up and pass the tests
	$(BIN)/pytest -m "not long" -n 2 --dist loadfile --no-loadscope-reorder --randomly-seed=20261121 $(ARGS)

test-long: $(DEV_STAMP) ## The long bounded runs, and examples by chance
	$(BIN)/pytest -m long --timeout 1800 $(ARGS)
	$(BIN)/pytest -m "hypothesis and not long" --hypothesis-profile chance

test-coqui: $(DEV_STAMP) ## The neural voices in a venv of their own (1.8 GB)
	@test -x .tools/coqui/bin/python || $(UV) venv --quiet --python python3 .tools/coqui
	.tools/coqui/bin/python -m ensurepip --upgrade >/dev/null 2>&1 || true
	.tools/coqui/bin/python -m pip install --quiet torch==2.13.0 coqui-tts==0.28.0 six -r requirements-dev.lock
	.tools/coqui/bin/python -m pytest -p no:randomly tests/unit/tts_coqui_test.py $(ARGS)

test-llm: $(DEV_STAMP) ## The language-model client against llama.cpp's server, in a venv of its own (210 MB)
	@test -x .tools/llm/bin/python || $(UV) venv --quiet --python python3 .tools/llm
	$(UV) pip install --quiet --python .tools/llm/bin/python xllamacpp==2026.10.11549 gguf==0.19.0
	VOICEBOT_TEST_LLM_PYTHON=$(CURDIR)/.tools/llm/bin/python $(BIN)/pytest tests/loopback/test_llm_server.py $(ARGS)

test-deploy: $(DEV_STAMP) ## Alert rules, dashboard, units, manifests and the TLS front, with the programs that are meant
	@.ci/debian-packages prometheus docker-compose systemd kamailio-tls-modules rtpengine-daemon
	$(UV) pip install --quiet --python $(BIN)/python kubernetes-validate==1.37.0
	$(BIN)/pytest -rs tests/unit/deploy_tools_test.py tests/unit/deploy_test.py tests/loopback/test_tls_front.py $(ARGS)

check: $(DEV_STAMP) ## ruff, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml

format: $(DEV_STAMP) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEV_STAMP) ## Measure, and print the figures beside the targets (ARGS="wire --quick" for a part)
	$(BIN)/python -m tests.bench.report $(ARGS)

bench-tts: $(DEV_STAMP) ## Synthesis: time to first audio, level, intelligibility
	$(BIN)/python -m tests.bench.tts $(ARGS)

bench-failover: $(DEV_STAMP) ## Takeover: what a caller hears when a worker dies or hangs (ARGS="--kills 200")
	$(BIN)/python -m tests.bench.failover $(ARGS)

bench-capacity: $(DEV_STAMP) ## Calls at the same time: onset, CPU, memory, knee (ARGS="--engine real")
	$(BIN)/python -m tests.bench.capacity $(ARGS)

bench-asr: $(DEV_STAMP) ## Recognition: error by channel, loss and noise (ARGS="--data FOLDER")
	$(BIN)/sip-test-harness asr --recogniser "$(BIN)/voicebot asr answer" $(ARGS)

bench-turns: $(DEV_STAMP) ## Turns: echo, interruption, ends of turns (DATA=FOLDER), beside another bot (PEER=SCRIPT PEER_PYTHON=…), at the wire
	$(BIN)/python -m tests.bench.echo $(if $(CALLS),--calls $(CALLS)) --plots || true
	$(if $(DATA),$(BIN)/python -m tests.bench.turn_ends --data $(DATA) --plots || true)
	$(if $(DATA),$(BIN)/python -m tests.bench.speculation --data $(DATA) || true)
	$(if $(DATA),$(BIN)/python -m tests.bench.interruptions --data $(DATA) $(if $(CALLS),--calls $(CALLS)) || true)
	$(if $(PEER),$(BIN)/python -m tests.bench.peer --peer $(PEER) --peer-python $(or $(PEER_PYTHON),$(BIN)/python) || true)
	$(BIN)/python -m tests.bench.wire --engine stub $(ARGS)

# A virtual environment of its own: torch is 200 MB to 2 GB and nothing that runs the bot needs it. Its pip reads
# the group "training" (uv would leave torch out, see [tool.uv] in pyproject.toml).
.tools/train/.installed: pyproject.toml requirements-dev.lock requirements.lock | $(VENV)/bin/python
	@.ci/debian-packages $(APT_TRAIN)
	$(UV) venv --quiet --clear --seed --python python3 .tools/train
	$(UV) pip install --quiet --python .tools/train/bin/python -r requirements.lock -r requirements-dev.lock
	.tools/train/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.tools/train/bin/python -m pip install --quiet --group training
	@touch $@

.PHONY: train
train: .tools/train/.installed ## Build the recognition model; resumable (BUDGET_MIN=240 DATA=FOLDER ARGS="--warm-start DIR")
	OMP_NUM_THREADS=1 PYTHONPATH=.:sip-test-harness .tools/train/bin/python -m training.build \
	  --budget-min $(BUDGET_MIN) --data $(or $(DATA),../shared/data) $(ARGS)

bench-router: $(DEV_STAMP) ## Routing: CLINC150 accuracy and time (ARGS="--data FOLDER")
	$(BIN)/python -m tests.bench.router $(ARGS)
