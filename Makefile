# Each target installs what it needs on a bare Debian machine with Rust. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
export PATH := $(CURDIR)/.venv/bin:$(PATH)

ARCH = x86_64
ENV = sandbox
MINUTES = 10
OUT = clip.mp4
CARGO_MUTANTS := cargo-mutants@27.1.0
DOCTOC := doctoc@2.2.1
# `make -s` also makes long commands quiet.
QUIET := $(if $(findstring s,$(firstword -$(MAKEFLAGS))),-q)

.PHONY: help
help: ## lists these targets
	@awk '/^##@ / { print "\n" substr($$0, 5) } \
		/^[a-z-]+:.*## / { split($$0, part, /:.*## /); printf "  %-13s %s\n", part[1], part[2] }' $(MAKEFILE_LIST)

##@ Every day

.PHONY: check rust-lint
check: rust-lint ## checks format, lints and unit tests of the Rust code; builds no release and no ffmpeg
	cargo test --locked --workspace --lib --quiet
rust-lint:
	@command -v cargo >/dev/null || { echo "error: cargo is missing: install Rust from https://rustup.rs" >&2; exit 1; }
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: lint fixlint
SHELL_SCRIPTS = $(shell find scripts layers tests crates .ci -name '*.sh' -not -path '*/opt/*') .ci/run
MARKDOWN = README.md $(wildcard CONTRIBUTING.md docs/*.md)
# Fails if a package of the workspace depends on a crate whose name matches: $(call without,package,pattern)
without = tree=$$(cargo tree --locked --package $(1) --edges normal --prefix none --format '{lib}'); \
	if found=$$(grep -oE '\S*($(2))\S*' <<<"$$tree" | sort -u | paste -sd' '); then \
	echo "error: $(1) must not depend on: $$found" >&2; exit 1; fi
lint: install-lint rust-lint ## checks format, style, documentation and dependencies of everything
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items --quiet
	@$(call without,exact-cut,aws|lambda|reqwest|hyper)
	@$(call without,testkit,exact_cut|cameras_service)
	cargo deny --offline --log-level error check licenses bans sources
	@if timeout 60 cargo deny --log-level off fetch db 2>/dev/null; then cargo deny check advisories; \
	else echo "advisories: not checked, their database is out of reach"; fi
	shellcheck $(SHELL_SCRIPTS)
	ruff check scripts tests
	ruff format --check scripts tests
	python -m scripts.lint.imports
	python -m scripts.lint.contents $(MARKDOWN)
	check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yaml
fixlint: install-lint ## fixes what the linters can fix by themselves
	cargo fmt --all
	cargo clippy --locked --workspace --all-targets --fix --allow-dirty --allow-staged
	ruff check --fix scripts tests
	ruff format scripts tests

.PHONY: doctoc
doctoc: ## renews the tables of contents of the documents that have one
	@command -v npm >/dev/null || { echo "error: npm is missing: apt install npm" >&2; exit 1; }
	@[[ -x .node/node_modules/.bin/doctoc ]] || npm install --silent --no-save --prefix .node $(DOCTOC)
	.node/node_modules/.bin/doctoc --update-only --github --notitle --maxlevel 2 $(MARKDOWN)

##@ Tests

# The function as it is shipped, for the tests that run it as a process.
SHIPPED = FUNCTION_BINARY="$(CURDIR)/target/lambda/cameras-service-generate-clip/bootstrap"
# The files whose code decides. A change there that no test notices shows a rule without a test.
RULES = src/decision src/contract/message_body \
	$(addprefix crates/exact-cut/src/plan/,coverage cut_plan segments random_access clip_clock)

.PHONY: test test-faults test-browser test-readme conformance mutants bench
test: install-local install-test build ## builds the release and runs all tests of Rust and of the deployment
	$(SHIPPED) cargo test --locked --workspace
	python -m pytest tests/deploy
test-faults: install-local install-test build ## injects faults, from where the last run ended [MINUTES=10]
	$(SHIPPED) FAULTS_ALL=1 FAULTS_MINUTES=$(MINUTES) cargo test --locked --test faults -- --nocapture
test-browser: install-local install-browser ffmpeg ## plays the clips of the camera zoo, from dist/zoo, in Chromium
	@[[ -e dist/zoo/table.md ]] || cargo test --locked -p exact-cut --test zoo every_clip_of_every_camera
	@python -m scripts.browser.clips
test-readme: install-local install-test build ## runs the commands that stand in the documentation
	@python -m scripts.readme_test $(QUIET)
conformance: install-local install-test ffmpeg ## holds clips of any footage against a full decode: FOOTAGE=folder [ONLY=text]
	@python -m scripts.conformance.conformance "$(FOOTAGE)" --only "$(ONLY)"
mutants: install-test ## changes the rules place by place and lists changes that no test notices; half an hour
	@ls $(RULES:%=%.rs) >/dev/null
	@[[ -x .venv/bin/cargo-mutants ]] || cargo install --quiet --locked --root .venv $(CARGO_MUTANTS)
	cargo mutants --workspace -C=--lib $(RULES:%=--file %.rs) --output target
bench: install-local build ## measures the function beside its baselines; QUICK=1 only shows that this works
	@python -m scripts.bench.bench $(QUIET) $(if $(QUICK),--quick)

##@ On this machine

.PHONY: demo local clip cut
demo: install-local install-browser build ## runs the whole system from nothing, shows it and checks it
	@python -m scripts.demo $(QUIET)
local: install-local build ## runs the whole system until Ctrl-C [RECORDINGS=folder]
	@python -m scripts.local.local $(if $(RECORDINGS),--recordings "$(RECORDINGS)")
clip: install-local ## asks the local stack for a clip: FROM=time TO=time [CLIP=id] [CAMERA=id]
	@python -m scripts.local.clip --from "$(FROM)" --to "$(TO)" --clip "$(CLIP)" --camera "$(CAMERA)"
cut: ffmpeg ## cuts recordings without AWS: FROM=time TO=time FILES="a.mp4 b.mp4" [OUT=clip.mp4]
	@cargo run --quiet --locked -p exact-cut --example cut -- --ffmpeg layers/ffmpeg/opt/bin/ffmpeg \
		--from "$(FROM)" --to "$(TO)" --out "$(OUT)" $(FILES)

.PHONY: event invoke plan
event: ## writes events/event.json, a request that the local stack can answer
	@python3 scripts/create_test_event.py
invoke: install-local ffmpeg ## runs the function on events/event.json with the local stack if it runs, else with .env
	@python -m scripts.local.invoke
plan: install-local install-build ## prints what the function would do for events/event.json, without doing it
	@python -m scripts.local.plan

.PHONY: sbox stag prod
sbox: ## copies the sandbox's settings to .env
	cp .env.sample_sandbox .env
stag: ## copies the staging settings to .env
	cp .env.sample_staging .env
prod: ## copies the production settings to .env
	cp .env.sample_prod .env

##@ On AWS: ENV=sandbox|staging|prod [FUNCTION_NAME=name] [YES=1]

.PHONY: build ffmpeg
build: install-build ## builds the function and packages it and its ffmpeg layer into dist [ARCH=arm64]
	@python -m scripts.function.package --arch $(ARCH) $(QUIET)
ffmpeg: install-build
	@layers/ffmpeg/build.sh $(QUIET)

TARGET = --env "$(ENV)" --function-name "$(FUNCTION_NAME)" --yes "$(YES)"
.PHONY: stack deploy doctor rollback redrive
# MEMORY and TMP are in MB, TIMEOUT is in seconds.
stack: install-aws install-build ## creates or updates a stack [ENV_FILE=file] [ALARM_TOPIC=arn] [MEMORY= TIMEOUT= TMP= CONCURRENCY=]
	@python -m scripts.deploy.create_stack $(TARGET) --env-file "$(ENV_FILE)" --arch $(ARCH) \
		--alarm-topic "$(ALARM_TOPIC)" --cdn-distribution "$(CDN_DISTRIBUTION)" \
		--memory "$(MEMORY)" --timeout "$(TIMEOUT)" --tmp "$(TMP)" --concurrency "$(CONCURRENCY)"
deploy: install-aws install-build ## builds and deploys the function [ENV_FILE=file] [EVENT=file] [CODE_BUCKET=name]
	@python -m scripts.deploy.deploy $(TARGET) --env-file "$(ENV_FILE)" --arch $(ARCH) \
		--event "$(EVENT)" --code-bucket "$(CODE_BUCKET)"
# ENV has a default for the other targets; here it counts only if somebody set it.
doctor: install-aws ## asks what serves to check itself: the live version of ENV=, else the local stack
	@python -m scripts.deploy.doctor --env "$(if $(filter command environment,$(origin ENV)),$(ENV))" \
		--function-name "$(FUNCTION_NAME)"
rollback: install-aws ## goes back to the version before [VERSION=number]
	@python -m scripts.deploy.rollback $(TARGET) --version "$(VERSION)"
redrive: install-aws ## lists dead letters, and sends them back [CLIPS=ids|MESSAGES=ids|ALL=1]
	@python -m scripts.deploy.redrive $(TARGET) --clips "$(CLIPS)" --messages "$(MESSAGES)" --all "$(ALL)"

##@ Installing and cleaning

.PHONY: install clean
install: ## installs everything that any target needs
	@scripts/install.sh $(QUIET)
clean: ## removes what was built; recordings and the ffmpeg in the user's cache stay
	rm -rf target dist .venv .node .ruff_cache .env.local layers/ffmpeg/opt

# `install-PART` installs what a part of the project needs, in a fraction of a second if it is there.
PARTS = aws build local browser test lint
.PHONY: $(PARTS:%=install-%)
$(PARTS:%=install-%): install-%:
	@scripts/install.sh -q $*
