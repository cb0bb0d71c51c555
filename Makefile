# Everything a contributor runs. Each target works on all modules of the tree:
# `go test ./...` alone stays in one and silently skips those nested in it.

SHELL := /bin/sh
GO ?= go

# How long `make fuzz` spends on each target.
FUZZTIME ?= 20s
# What `make bench` measures.
BENCH ?= .
# What `make compare` runs (all workloads where empty), how often every peer has its turn, for how many seconds what
# runs by the real clock is watched, and more flags (cd test/benchmarks && go run . -help).
WORKLOADS ?=
ROUNDS ?= 3
SECONDS ?= 20
COMPAREFLAGS ?=
# How long `make chaos` makes trouble, and by which plan (0 draws one); how long `make soak` watches.
CHAOSTIME ?= 10m
SEED ?= 0
SOAKTIME ?= 30m
# More flags for go test, e.g. make test TESTFLAGS='-run TestSync -v'.
TESTFLAGS ?=

# Pinned, so that a new release cannot turn a check red overnight.
GOFUMPT := $(GO) run mvdan.cc/gofumpt@v0.12.0
STATICCHECK := $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0

MODULES := $(shell find . -name go.mod -not -path '*/testdata/*' -not -path '*/node_modules/*' | xargs -n 1 dirname | sort)

# each runs a command in every module, and fails at the end if one has failed.
each = @failed=; for module in $(MODULES); do \
	  [ "$(words $(MODULES))" -eq 1 ] || echo "-- module $$module"; \
	  (cd $$module && $(1)) || failed="$$failed $$module"; \
	done; [ -z "$$failed" ] || { echo "failed in:$$failed" >&2; exit 1; }

# One server for all test processes of a run. Built rather than `go run`, which
# would swallow the exit code and signals.
WITHPG := .bin/withpg

.DEFAULT_GOAL := help
.PHONY: help setup test race cover bench compare fuzz chaos soak demo pictures lint fmt tidy-check vuln $(WITHPG) \
	.chaos .formatted .vet .staticcheck .golangci .test .race .cover .bench .compare

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(WITHPG) ## install what the tests lack: a Postgres server (unless TEST_DATABASE_URL names one), Chromium, PgBouncer
	@$(WITHPG) -check || { ./internal/dbtest/install.sh && $(WITHPG) -check; }
	@./test/e2e/setup.sh -check || ./test/e2e/setup.sh

test: setup ## run all tests of all modules, with Postgres and Chromium
	@HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_REQUIRE_BROWSER=1 HOURBELL_REQUIRE_POOLER=1 $(WITHPG) -- $(MAKE) --no-print-directory .test

race: setup ## the same under the race detector, -short, most of it on Postgres alone (needs a C compiler)
	@HOURBELL_ONLY_POSTGRES=1 HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_REQUIRE_BROWSER=1 HOURBELL_REQUIRE_POOLER=1 $(WITHPG) -- $(MAKE) --no-print-directory .race

cover: setup ## run the tests and say what they cover; details in .bin/cover.html
	@HOURBELL_REQUIRE_POSTGRES=1 $(WITHPG) -- $(MAKE) --no-print-directory .cover

bench: setup ## run the benchmarks on a server that really writes (BENCH=regexp)
	@HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_TEST_FSYNC=1 $(WITHPG) -- $(MAKE) --no-print-directory .bench

compare: setup ## compare with hand-written SQL and others, in one table (WORKLOADS=fire,lateness ROUNDS=3 SECONDS=20)
	@HOURBELL_REQUIRE_POSTGRES=1 HOURBELL_TEST_FSYNC=1 $(WITHPG) -- $(MAKE) --no-print-directory .compare

fuzz: ## fuzz each target for FUZZTIME
	$(call each,for file in $$($(GO) list -f '{{$$p := .}}{{range .TestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}{{range .XTestGoFiles}}{{$$p.Dir}}/{{.}} {{end}}' ./... \
	    | xargs grep -l '^func Fuzz' /dev/null); do \
	  for target in $$(grep -o '^func Fuzz[A-Za-z0-9]*' $$file | cut -c6-); do \
	    echo "-- $$target in $${file#$$PWD/}"; \
	    (cd $$(dirname $$file) && $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) .) || exit 1; \
	  done; \
	done)

chaos: .chaos ## processes under faults of all kinds, and the proof that nothing is lost (CHAOSTIME=10m SEED=0)
	@.bin/chaos -time $(CHAOSTIME) -seed $(SEED)

soak: .chaos ## watch what a process that fires all the time takes of memory and connections (SOAKTIME=30m)
	@.bin/chaos -soak -time $(SOAKTIME)

demo: ## run the demo
	$(GO) run ./examples/demo

pictures: ## take the pictures of the README anew
	@./test/e2e/setup.sh -check || ./test/e2e/setup.sh
	cd test/e2e && HOURBELL_REQUIRE_BROWSER=1 HOURBELL_PICTURES=1 $(GO) test -count=1 -run TestPicturesOfTheREADME ./page

lint: .formatted .vet .staticcheck .golangci ## formatting, vet, staticcheck; golangci-lint too where it is installed

fmt: ## format the code
	$(GOFUMPT) -w .

tidy-check: ## fail if a go.mod or go.sum is not tidy
	$(call each,$(GO) mod tidy -diff)

vuln: ## look for known vulnerabilities (asks vuln.go.dev)
	$(call each,$(GOVULNCHECK) ./...)

$(WITHPG):
	@$(GO) build -o $@ ./internal/dbtest/withpg

# These start servers of their own.
.chaos: $(WITHPG)
	@$(WITHPG) -check || { ./internal/dbtest/install.sh && $(WITHPG) -check; }
	@GO='$(GO)' ./test/e2e/chaos/build.sh $(CURDIR)/.bin/chaos

.formatted:
	@unformatted=$$($(GOFUMPT) -l .) || exit 1; \
	  [ -z "$$unformatted" ] || { echo "not formatted ('make fmt' does it):"; echo "$$unformatted"; exit 1; }

.vet:
	$(call each,$(GO) vet ./...)

.staticcheck:
	$(call each,$(STATICCHECK) ./...)

# Not fetched by us: it takes minutes to build. Most of what it would say, the others have said.
.golangci:
	$(call each,! command -v golangci-lint >/dev/null || golangci-lint run ./...)

.test:
	$(call each,$(GO) test $(TESTFLAGS) ./...)

# -short leaves out what is long and runs in one goroutine: there is no race to
# find, and the detector makes it ten times longer. What runs on both databases
# runs on Postgres alone: the detector makes SQLite, which is Go, far slower.
# The default time limit of ten minutes is for tests without the detector.
# One package at a time, once all are built: side by side they are so slow that
# deadlines pass. The benchmarks are left out: their peers take minutes to build.
# So are the tests in a browser and of other routers: what they ask of the server, others ask it too.
.race:
	$(call each,{ [ $$module = ./test/benchmarks ] || { packages=$$($(GO) list ./... | grep -v '/e2e/page$$\|/e2e/mount$$') && \
	  $(GO) test -race -short -run '^$$' $$packages >/dev/null && \
	  $(GO) test -race -short -p 1 -timeout 20m $(TESTFLAGS) $$packages; }; })

.cover:
	@$(GO) test -coverpkg=./... -coverprofile=.bin/cover.out ./...
	@$(GO) tool cover -func=.bin/cover.out | tail -n 1
	@$(GO) tool cover -html=.bin/cover.out -o .bin/cover.html

.bench:
	$(call each,$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(TESTFLAGS) ./...)

.compare:
	@cd test/benchmarks && $(GO) run . -workloads='$(WORKLOADS)' -rounds='$(ROUNDS)' -seconds='$(SECONDS)' $(COMPAREFLAGS)
