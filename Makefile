# What contributors run. The targets work on all modules of the repository. A
# plain `go test ./...` tests only the module of the current folder.

SHELL := /bin/sh
GO ?= go

# The time that `make fuzz` spends on each target.
FUZZTIME ?= 20s
# The Go benchmarks that `make bench` runs.
BENCH ?= .
# For `make compare`: the workloads (all if empty), the number of rounds, the
# seconds for which workloads in real time are measured, and more flags, which
# `cd test/benchmarks && GOWORK=off go run . -help` lists.
WORKLOADS ?=
ROUNDS ?= 3
SECONDS ?= 20
COMPAREFLAGS ?=
# How long `make chaos` injects faults, and the seed of its plan (0 draws one).
CHAOSTIME ?= 10m
SEED ?= 0
# How long `make soak` runs.
SOAKTIME ?= 30m
# The number of histories that `make histories` simulates.
HISTORIES ?= 20000
# More flags for go test, for example TESTFLAGS='-run TestSync -v'.
TESTFLAGS ?=

# Fixed versions, so that a new release cannot make a check fail.
GOFUMPT := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# go.work joins the first three modules. The others have many dependencies and
# are used without it.
MODULES := . ./examples ./test ./test/drivers ./test/e2e ./test/e2e/mount/compression ./test/benchmarks

# The other engines in the benchmarks take minutes to build. `make nightly` runs
# the tests of that module.
TESTMODULES := $(filter-out ./test/benchmarks,$(MODULES))

# $(call in,MODULES,COMMAND) runs a command in each module. It fails at the end
# if a command failed.
in = @failed=; for module in $(1); do \
	  echo "-- module $$module"; \
	  (cd $$module && case $$module in ./test/*) GOWORK=off; export GOWORK ;; esac && $(2)) || failed="$$failed $$module"; \
	done; [ -z "$$failed" ] || { echo "failed in:$$failed" >&2; exit 1; }

# withpg starts one Postgres server for all test processes of a command. It is
# built, because `go run` hides exit codes and signals.
WITHPG := .bin/withpg

# $(call use_postgres,VERSION) makes withpg start a server of this version. On
# machines for which there are no binaries it leaves the shell's variable bin
# empty, and withpg uses the server that it always uses.
use_postgres = bin=$$(./internal/dbtest/install-postgres.sh $(1)) && \
	  if [ -n "$$bin" ]; then export HOURBELL_TEST_POSTGRES_BIN="$$bin" TEST_DATABASE_URL=; fi

# -buildvcs=false: the build does not fail if another user owns the repository.
BUILD := $(GO) build -buildvcs=false

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup test oldest race nightly cover bench compare fuzz chaos soak histories demo pictures lint fmt tidy-check vuln \
	$(WITHPG) .postgres .chaos .formatted .vet .staticcheck .golangci .test .oldest .on-postgres .race .cover .bench .compare \
	.benchmarks

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z%-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .postgres ## install what the tests need: Postgres (unless TEST_DATABASE_URL is set), Chromium, PgBouncer
	@./test/e2e/setup.sh -check || ./test/e2e/setup.sh

test: setup ## run the tests, with Postgres, Chromium and PgBouncer
	@HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_REQUIRE_BROWSER=1 HOURBELL_REQUIRE_POOLER=1 $(WITHPG) -- $(MAKE) --no-print-directory .test

oldest: .postgres ## run the tests of the core, -short, with the oldest modules that hourbell requires, on Postgres 14
	@$(call use_postgres,14) && HOURBELL_REQUIRE_POSTGRES=1 $(WITHPG) -- $(MAKE) --no-print-directory .oldest

# Postgres only, because the other targets run the same tests on SQLite.
postgres-%: $(WITHPG) ## run the tests of the rules, the store and the documents, -short, on Postgres 14 or 18
	@$(call use_postgres,$*) && { [ -z "$$bin" ] || \
	  HOURBELL_ONLY_POSTGRES=1 HOURBELL_REQUIRE_POSTGRES=1 $(WITHPG) -- $(MAKE) --no-print-directory .on-postgres; }

race: setup ## run the tests under the race detector, -short, mostly on Postgres (needs a C compiler)
	@HOURBELL_ONLY_POSTGRES=1 HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_REQUIRE_POOLER=1 $(WITHPG) -- $(MAKE) --no-print-directory .race

nightly: setup ## run what takes hours: histories, chaos, soak, fuzzing, tests of the benchmarks
	@$(MAKE) --no-print-directory --keep-going histories chaos soak fuzz .benchmarks CHAOSTIME=10m FUZZTIME=5m

cover: .postgres ## run the tests of the core and report their coverage; details in .bin/cover.html
	@HOURBELL_REQUIRE_POSTGRES=1 $(WITHPG) -- $(MAKE) --no-print-directory .cover

bench: .postgres ## run the Go benchmarks on a server with fsync (BENCH=regexp)
	@HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_TEST_FSYNC=1 $(WITHPG) -- $(MAKE) --no-print-directory .bench

compare: .postgres ## compare with hand-written SQL and other engines (WORKLOADS=fire,lateness ROUNDS=3 SECONDS=20)
	@HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_TEST_FSYNC=1 $(WITHPG) -- $(MAKE) --no-print-directory .compare

fuzz: ## fuzz each target for FUZZTIME
	$(call in,$(TESTMODULES),for file in $$($(GO) list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}' ./... \
	    | xargs grep -l '^func Fuzz' /dev/null); do \
	  for target in $$(grep -o '^func Fuzz[A-Za-z0-9]*' $$file | cut -c6-); do \
	    echo "-- $$target in $${file#$$PWD/}"; \
	    (cd $$(dirname $$file) && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
	  done; \
	done)

chaos: .chaos ## inject faults into real processes and check that no slot is lost (CHAOSTIME=10m SEED=0)
	@.bin/chaos -time $(CHAOSTIME) -seed $(SEED)

soak: .chaos ## watch memory and connections of a process that fires constantly (SOAKTIME=30m)
	@.bin/chaos -soak -time $(SOAKTIME)

histories: ## simulate random histories and check each (HISTORIES=20000)
	HOURBELL_SEEDS=$(HISTORIES) $(GO) test -count=1 -timeout 60m -v -run TestHistoriesKeepGuarantees ./internal/simulation

demo: ## run the demo
	$(GO) run ./examples/demo

pictures: ## update the pictures in the README
	@./test/e2e/setup.sh -check || ./test/e2e/setup.sh
	cd test/e2e && GOWORK=off HOURBELL_REQUIRE_BROWSER=1 HOURBELL_PICTURES=1 $(GO) test -count=1 -run TestPictures ./page

lint: .formatted .vet .staticcheck .golangci ## check formatting, vet, staticcheck, and golangci-lint if it is installed

fmt: ## format the code
	$(GOFUMPT) -w .

tidy-check: ## fail if a go.mod or go.sum is not tidy
	$(call in,$(MODULES),GOWORK=off $(GO) mod tidy -diff)
	@cd test && GOWORK=off $(GO) mod tidy -modfile=oldest.mod -diff

vuln: ## look for known vulnerabilities (asks vuln.go.dev)
	$(call in,$(MODULES),$(GOVULNCHECK) ./...)

$(WITHPG):
	@$(BUILD) -o $@ ./internal/dbtest/withpg

.postgres: $(WITHPG)
	@$(WITHPG) -check || { ./internal/dbtest/install.sh && $(WITHPG) -check; }

# chaos and soak start their own servers.
.chaos: .postgres
	@cd test/e2e && GOWORK=off $(BUILD) -o $(CURDIR)/.bin/chaos ./chaos

.formatted:
	@unformatted=$$($(GOFUMPT) -l .) || exit 1; \
	  [ -z "$$unformatted" ] || { echo "not formatted, run 'make fmt':"; echo "$$unformatted"; exit 1; }

.vet:
	$(call in,$(MODULES),$(GO) vet ./...)

.staticcheck:
	$(call in,$(MODULES),$(STATICCHECK) ./...)

# golangci-lint is optional, because it takes minutes to build. vet, staticcheck
# and internal/archtest find most of what it finds.
.golangci:
	$(call in,$(MODULES),{ ! command -v golangci-lint >/dev/null || golangci-lint run ./...; })

# The contract tests may take more than go test's default of ten minutes.
.test:
	$(call in,$(TESTMODULES),$(GO) test -timeout 20m $(TESTFLAGS) ./...)

# Without go.work, the root is tested with the versions in its go.mod. Those are
# the oldest that work. test/oldest.mod selects the same versions.
.oldest:
	GOWORK=off $(GO) test -short -timeout 20m $(TESTFLAGS) ./...
	cd test && GOWORK=off $(GO) test -modfile=oldest.mod -short -timeout 20m $(TESTFLAGS) ./contract ./store ./sqlite

.on-postgres:
	$(GO) test -short -timeout 20m $(TESTFLAGS) ./test/contract ./test/store ./test/docs

# -short leaves out long tests that have one goroutine: they have no races, and
# the race detector makes them ten times slower. Tests for both databases run
# only on Postgres, because the detector slows down SQLite, which is Go code.
# Packages are built first and then tested one at a time. Next to each other
# they would miss their deadlines. The tests in a browser and of other routers
# are left out: other tests send the same requests to the server. So are those
# of the SQLite drivers, whose code the detector would slow down, and archtest,
# which has one goroutine.
.race:
	$(call in,$(filter-out ./test/drivers ./test/e2e/mount/compression,$(TESTMODULES)),packages=$$($(GO) list ./... | grep -v '/e2e/page$$\|/e2e/mount$$\|/archtest$$') && \
	  $(GO) test -race -short -run '^$$' $$packages >/dev/null && \
	  $(GO) test -race -short -p 1 -timeout 20m $(TESTFLAGS) $$packages)

.benchmarks:
	cd test/benchmarks && GOWORK=off HOURBELL_REQUIRE_POSTGRES=1 $(GO) test -timeout 20m $(TESTFLAGS) ./...

.cover:
	@$(GO) test -timeout 20m -coverpkg=./... -coverprofile=.bin/cover.out ./... ./test/...
	@$(GO) tool cover -func=.bin/cover.out | tail -n 1
	@$(GO) tool cover -html=.bin/cover.out -o .bin/cover.html

.bench:
	$(call in,$(MODULES),$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(TESTFLAGS) ./...)

.compare:
	@cd test/benchmarks && GOWORK=off $(GO) run . -workloads='$(WORKLOADS)' -rounds='$(ROUNDS)' -seconds='$(SECONDS)' $(COMPAREFLAGS)
