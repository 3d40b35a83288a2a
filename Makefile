# Everything here works from a bare Debian machine with Rust and Python: each target gets what it needs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(PATH)

ARCH = x86_64
ENV = sandbox
DOCTOC := doctoc@2.2.1
CARGO_MUTANTS := cargo-mutants@27.1.0
# `make -s` makes long commands quiet as well.
QUIET := $(if $(findstring s,$(firstword -$(MAKEFLAGS))),-q)
SHELL_SCRIPTS = $(shell find scripts layers .ci -name '*.sh' -not -path '*/opt/*') .ci/run

.PHONY: help
help: ## lists these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: install
install: ## installs what the work here needs
	@scripts/install.sh $(QUIET)

.PHONY: installed ffmpeg
installed:
	@scripts/install.sh -q
ffmpeg: installed
	@layers/ffmpeg/build.sh $(QUIET)

.PHONY: sbox stag prod
sbox: ## takes the sandbox's settings: copies them to .env
	cp .env.sample_sandbox .env
stag: ## takes the staging settings
	cp .env.sample_staging .env
prod: ## takes the production settings
	cp .env.sample_prod .env

.PHONY: event invoke plan
event: ## writes events/event.json, a request that the local stack can answer
	@python3 scripts/create_test_event.py
invoke: ffmpeg ## runs the function on events/event.json, against the local stack while that runs, else with .env
	@python -m scripts.local.invoke
plan: installed ## tells what the function would do for events/event.json, without doing it
	@python -m scripts.local.plan

.PHONY: local clip demo
local: build ## runs the whole system on this machine [RECORDINGS=folder]
	@python -m scripts.local.local $(if $(RECORDINGS),--recordings "$(RECORDINGS)")
clip: installed ## asks the local stack for a clip: FROM=time TO=time [CLIP=id] [CAMERA=id]
	@python -m scripts.local.clip --from "$(FROM)" --to "$(TO)" --clip "$(CLIP)" --camera "$(CAMERA)"
demo: build ## shows the whole system at work, from nothing, and proves it
	@python -m scripts.demo $(QUIET)

.PHONY: build test
build: installed ## builds the function and packs it and its layer into dist [ARCH=arm64]
	@python -m scripts.function.package --arch $(ARCH) $(QUIET)
test: build ## runs all tests
	$(SHIPPED) cargo test --locked
	python -m pytest tests/deploy

# The function as it is shipped, for the tests that run it as a process.
SHIPPED = FUNCTION_BINARY="$(CURDIR)/target/lambda/cameras-service-generate-clip/bootstrap"
.PHONY: test-faults
test-faults: build ## goes on injecting faults, from where the last run ended [MINUTES=10]
	$(SHIPPED) FAULTS_ALL=1 FAULTS_MINUTES=$(or $(MINUTES),10) cargo test --locked --test faults -- --nocapture

# What decides. A change there that no test notices is a rule that nobody holds it to.
RULES = verdict request footage/coverage cut/plan cut/segments cut/clock
.PHONY: mutants
mutants: installed ## changes the rules one place at a time, and tells which changes no test notices
	@[[ -x .venv/bin/cargo-mutants ]] || cargo install --quiet --locked --root .venv $(CARGO_MUTANTS)
	cargo mutants --no-default-features -C=--lib $(RULES:%=-f src/%.rs) --output target

# What these are given, said once: ENV=sandbox|staging|prod FUNCTION_NAME=name YES=1
TARGET = --env "$(ENV)" --function-name "$(FUNCTION_NAME)" --yes "$(YES)"
.PHONY: stack deploy rollback redrive
stack: installed ## creates or updates the stack in AWS: ENV=sandbox|staging|prod [ENV_FILE=.env]
	@python -m scripts.deploy.create_stack $(TARGET) --env-file "$(ENV_FILE)" --arch $(ARCH) \
		--alarm-topic "$(ALARM_TOPIC)" --cdn-distribution "$(CDN_DISTRIBUTION)"
deploy: installed ## builds and deploys the function: ENV=sandbox|staging|prod [FUNCTION_NAME=name] [ENV_FILE=.env]
	@python -m scripts.deploy.deploy $(TARGET) --env-file "$(ENV_FILE)" --arch $(ARCH) \
		--event "$(EVENT)" --code-bucket "$(CODE_BUCKET)"
rollback: installed ## goes back to the version before: ENV=sandbox|staging|prod [VERSION=number]
	@python -m scripts.deploy.rollback $(TARGET) --version "$(VERSION)"
redrive: installed ## lists dead letters and sends them back: ENV=sandbox|staging|prod [CLIPS=ids|MESSAGES=ids|ALL=1]
	@python -m scripts.deploy.redrive $(TARGET) --clips "$(CLIPS)" --messages "$(MESSAGES)" --all "$(ALL)"

.PHONY: test-browser
test-browser: ffmpeg ## plays the clips of the camera zoo, which make test leaves in dist/zoo, in a real browser
	@[[ -e dist/zoo/table.md ]] || cargo test --locked --test it every_clip_of_every_camera
	@python -m scripts.browser.clips

.PHONY: test-readme
test-readme: ffmpeg build ## runs the commands that stand in README
	@python -m scripts.readme_test $(QUIET)

.PHONY: bench
bench: build ## measures the function beside what it replaces; QUICK=1 only shows that this works
	@python -m scripts.bench.bench $(QUIET) $(if $(QUICK),--quick)

.PHONY: lint fixlint doctoc
lint: installed ## checks form and style of everything
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --lib -- -D warnings
	cargo deny --offline --log-level error check licenses bans sources
	@if timeout 60 cargo deny --log-level off fetch db 2>/dev/null; then cargo deny check advisories; \
	else echo "advisories: not checked, their database is out of reach"; fi
	shellcheck $(SHELL_SCRIPTS)
	ruff check scripts tests
	ruff format --check scripts tests
	python -m scripts.readme_test --contents
fixlint: installed ## mends what can be mended by itself
	cargo fmt
	cargo clippy --locked --all-targets --fix --allow-dirty --allow-staged
	ruff check --fix scripts tests
	ruff format scripts tests
doctoc: ## renews the tables of contents
	@command -v npm >/dev/null || { echo "error: npm is missing: apt install npm" >&2; exit 1; }
	@[[ -x .node/node_modules/.bin/doctoc ]] || npm install --silent --no-save --prefix .node $(DOCTOC)
	.node/node_modules/.bin/doctoc --github --notitle --maxlevel 2 README.md

.PHONY: clean
clean: ## removes what was built; recordings and the ffmpeg kept outside the clone stay
	rm -rf target dist .venv .node .ruff_cache .env.local layers/ffmpeg/opt
