# What a contributor runs. The targets work on all modules of the tree, because
# `go test ./...` tests one module and silently skips those below it.

SHELL := /bin/sh
GO ?= go

# Time or number of inputs per target of `make fuzz`, such as 20s or 1000x.
FUZZTIME ?= 20s
# Benchmarks to run, as a regular expression.
BENCH ?= .
# For `make compare`: the workloads (all if empty), the rounds per system, the
# seconds to watch what runs by the real clock, and more flags, which
# `cd test/benchmarks && GOWORK=off go run . -help` lists.
WORKLOADS ?=
ROUNDS ?= 3
SECONDS ?= 20
COMPAREFLAGS ?=
# For `make chaos`: how long to inject faults, and the seed of the plan (0 draws
# one). For `make soak`: how long to watch.
CHAOSTIME ?= 10m
SEED ?= 0
SOAKTIME ?= 30m
# For `make nightly`: the number of simulated histories, and the time per fuzz
# target.
HISTORIES ?= 20000
NIGHTLYFUZZ ?= 5m
# More flags for go test, as in: make test TESTFLAGS='-run TestSync -v'
TESTFLAGS ?=

# Pinned, so that a new release cannot fail a check that has passed.
GOFUMPT := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# The modules of go.work, and those outside it. In the latter, the go command
# needs GOWORK=off.
WORKSPACE := . ./examples ./test
STANDALONE := ./test/benchmarks ./test/e2e
MODULES := $(WORKSPACE) $(STANDALONE)

# each runs a command in every module, and fails at the end if one has failed.
each = @failed=; for module in $(MODULES); do \
	  echo "-- module $$module"; \
	  case " $(STANDALONE) " in *" $$module "*) work=off ;; *) work= ;; esac; \
	  (cd $$module && export GOWORK=$$work && $(1)) || failed="$$failed $$module"; \
	done; [ -z "$$failed" ] || { echo "failed in:$$failed" >&2; exit 1; }

# withpg starts one server for all test processes. It is built, because `go run`
# would replace the exit code and stop signals.
WITHPG := .bin/withpg

# With these, a missing server or browser is a failure.
REQUIRE_POSTGRES := HOURBELL_REQUIRE_POSTGRES=1
REQUIRE_ALL := $(REQUIRE_POSTGRES) HOURBELL_REQUIRE_BROWSER=1 HOURBELL_REQUIRE_POOLER=1
SUBMAKE = $(MAKE) --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup test oldest race cover bench compare fuzz chaos soak histories nightly demo pictures lint fmt \
	tidy-check vuln $(WITHPG) .postgres .chaos .formatted .vet .staticcheck .golangci .test .oldest .race .cover .bench .compare

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .postgres ## install what the tests need: Postgres (unless TEST_DATABASE_URL is set), Chromium, PgBouncer
	@./test/e2e/setup.sh -check || ./test/e2e/setup.sh

test: setup ## run all tests of all modules, with the newest versions of what go.mod requires
	@$(REQUIRE_ALL) $(WITHPG) -- $(SUBMAKE) .test

oldest: .postgres ## run the core, contract and store tests with the oldest versions that work, -short
	@$(REQUIRE_POSTGRES) $(WITHPG) -- $(SUBMAKE) .oldest

race: setup ## run the tests under the race detector, -short, without SQLite (needs a C compiler)
	@HOURBELL_ONLY_POSTGRES=1 $(REQUIRE_ALL) $(WITHPG) -- $(SUBMAKE) .race

cover: .postgres ## measure the coverage of the core module; details in .bin/cover.html
	@$(REQUIRE_POSTGRES) $(WITHPG) -- $(SUBMAKE) .cover

bench: .postgres ## run the benchmarks on a server with fsync (BENCH=regexp)
	@$(REQUIRE_POSTGRES) HOURBELL_TEST_FSYNC=1 $(WITHPG) -- $(SUBMAKE) .bench

compare: .postgres ## compare with hand-written SQL and other libraries (WORKLOADS=fire,lateness ROUNDS=3 SECONDS=20)
	@$(REQUIRE_POSTGRES) HOURBELL_TEST_FSYNC=1 $(WITHPG) -- $(SUBMAKE) .compare

fuzz: ## run each fuzz target (FUZZTIME=20s)
	$(call each,for file in $$($(GO) list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}' ./... \
	    | xargs grep -l '^func Fuzz' /dev/null); do \
	  for target in $$(grep -o '^func Fuzz[A-Za-z0-9]*' $$file | cut -c6-); do \
	    echo "-- $$target in $${file#$$PWD/}"; \
	    (cd $$(dirname $$file) && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
	  done; \
	done)

chaos: .chaos ## run processes under faults and check that no slot is lost (CHAOSTIME=10m SEED=0)
	@.bin/chaos -time $(CHAOSTIME) -seed $(SEED)

soak: .chaos ## watch memory and connections of a process that fires constantly (SOAKTIME=30m)
	@.bin/chaos -soak -time $(SOAKTIME)

histories: ## simulate random histories (HISTORIES=20000)
	@HOURBELL_SEEDS=$(HISTORIES) $(GO) test -count=1 -timeout 2h -run '^TestHistoriesKeepGuarantees$$' ./internal/simulation

nightly: ## run what takes hours: histories, long fuzzing, chaos and soak
	@failed=; for target in histories "fuzz FUZZTIME=$(NIGHTLYFUZZ)" chaos soak; do \
	  echo "== $$target"; $(SUBMAKE) $$target || failed="$$failed $${target%% *}"; \
	done; [ -z "$$failed" ] || { echo "failed:$$failed" >&2; exit 1; }

demo: ## run the demo
	$(GO) run ./examples/demo

pictures: ## take the screenshots of the README again
	@./test/e2e/setup.sh -check || ./test/e2e/setup.sh
	cd test/e2e && GOWORK=off HOURBELL_REQUIRE_BROWSER=1 HOURBELL_PICTURES=1 $(GO) test -count=1 -run TestPicturesOfTheREADME ./page

lint: .formatted .vet .staticcheck .golangci ## check formatting, vet, staticcheck, and golangci-lint if it is installed

fmt: ## format the code
	$(GOFUMPT) -w .

tidy-check: ## fail if a go.mod or go.sum is not tidy
	$(call each,GOWORK=off $(GO) mod tidy -diff)
	@cd test && GOWORK=off $(GO) mod tidy -diff -modfile=oldest.mod

vuln: ## look for known vulnerabilities (asks vuln.go.dev)
	$(call each,$(GOVULNCHECK) ./...)

$(WITHPG):
	@$(GO) build -o $@ ./internal/dbtest/withpg

.postgres: $(WITHPG)
	@$(WITHPG) -check || { ./internal/dbtest/install.sh && $(WITHPG) -check; }

# The chaos and soak runs start servers of their own.
.chaos: .postgres
	@cd test/e2e && GOWORK=off $(GO) build -o $(CURDIR)/.bin/chaos ./chaos

.formatted:
	@unformatted=$$($(GOFUMPT) -l .) || exit 1; \
	  [ -z "$$unformatted" ] || { echo "not formatted (run 'make fmt'):"; echo "$$unformatted"; exit 1; }

.vet:
	$(call each,$(GO) vet ./...)

.staticcheck:
	$(call each,$(STATICCHECK) ./...)

# golangci-lint is optional, because building it takes minutes.
.golangci:
	$(call each,! command -v golangci-lint >/dev/null || golangci-lint run ./...)

.test:
	$(call each,$(GO) test $(TESTFLAGS) ./...)

# Without the workspace, the root's go.mod selects the oldest versions. The
# module test requires newer ones, and oldest.mod replaces its go.mod.
.oldest:
	@failed=; \
	  GOWORK=off $(GO) test -short $(TESTFLAGS) ./... || failed=1; \
	  (cd test && GOWORK=off $(GO) test -short -modfile=oldest.mod $(TESTFLAGS) ./...) || failed=1; \
	  [ -z "$$failed" ]

# The detector makes code ten times slower. -short skips long tests that have
# one goroutine. Packages run one after the other, once all are built, so that
# deadlines hold. The benchmarks and the tests of browsers and routers are
# skipped: other tests run the same code of the library.
.race:
	$(call each,{ [ $$module = ./test/benchmarks ] || { packages=$$($(GO) list ./... | grep -v '/e2e/page$$\|/e2e/mount$$') && \
	  $(GO) test -race -short -run '^$$' $$packages >/dev/null && \
	  $(GO) test -race -short -p 1 -timeout 20m $(TESTFLAGS) $$packages; }; })

.cover:
	@$(GO) test -coverpkg=./... -coverprofile=.bin/cover.out ./... ./test/...
	@$(GO) tool cover -func=.bin/cover.out | tail -n 1
	@$(GO) tool cover -html=.bin/cover.out -o .bin/cover.html

.bench:
	$(call each,$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(TESTFLAGS) ./...)

.compare:
	@cd test/benchmarks && GOWORK=off $(GO) run . -workloads='$(WORKLOADS)' -rounds='$(ROUNDS)' -seconds='$(SECONDS)' $(COMPAREFLAGS)
