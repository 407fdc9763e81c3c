# Everything that it takes is in the Go module proxy: the tools are pinned in hack/tools, the control plane in test/controlplane.
SHELL := /usr/bin/env bash -o pipefail -e
.DEFAULT_GOAL := help

IMG ?= ghcr.io/terminals-dev/session-controller:latest
CONFIG ?= config/default
PLATFORMS ?= linux/amd64,linux/arm64

TOOL := go tool -modfile=hack/tools/go.mod
CONTROLLER_GEN := $(TOOL) controller-gen
LINT := $(TOOL) golangci-lint-kube-api-linter
# kubectl of the same version as everything else here, so that nothing depends on what is on the PATH.
KUBECTL = $$(go -C test/controlplane run . kubectl)/kubectl

UNIT := ./api/... ./controllers/... ./internal/...

.PHONY: help
help: ## Show this.
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Try it
.PHONY: run
run: ## Start a control plane, the manager and the samples on this machine; Ctrl-C stops and removes everything.
	@go build -o .run/bin/run ./hack/run && exec .run/bin/run

.PHONY: idp
idp: ## Start an OpenID provider on this machine, to try oauth2 providers with beside make run; Ctrl-C stops it.
	@go build -o .run/bin/idp ./hack/idp && exec .run/bin/idp

##@ Work on it
.PHONY: generate
generate: ## Write what is generated: deep copies, CRDs, RBAC.
	$(CONTROLLER_GEN) object crd paths=./api/... output:crd:dir=config/crd/bases
	$(CONTROLLER_GEN) rbac:roleName=session-controller paths=./... output:rbac:dir=config/rbac

.PHONY: fmt
fmt: ## Format.
	$(LINT) fmt ./...

.PHONY: verify
verify: ## Fail if something generated is stale, formatting or lint complains, or an import runs against the arrows.
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	$(CONTROLLER_GEN) object paths=./api/... output:object:dir="$$tmp/api"; \
	$(CONTROLLER_GEN) crd paths=./api/... output:crd:dir="$$tmp/crd"; \
	$(CONTROLLER_GEN) rbac:roleName=session-controller paths=./... output:rbac:dir="$$tmp/rbac"; \
	diff "$$tmp/api/zz_generated.deepcopy.go" api/v1/zz_generated.deepcopy.go && diff -r "$$tmp/crd" config/crd/bases && \
	diff "$$tmp/rbac/role.yaml" config/rbac/role.yaml || { echo "generated files are stale: run make generate and commit what it writes" >&2; exit 1; }
	go mod tidy -diff
	go -C test/controlplane mod tidy -diff
	go -C test/identity mod tidy -diff
	go -C test/identity/hydra mod tidy -diff
	$(LINT) run ./...
	cd test/controlplane && go tool -modfile=../../hack/tools/go.mod golangci-lint-kube-api-linter run --config ../../.golangci.yml ./...
	cd test/identity && go tool -modfile=../../hack/tools/go.mod golangci-lint-kube-api-linter run --config ../../.golangci.yml ./...
	@echo "verified: generated files, modules, formatting, lint and imports"

.PHONY: test-unit
test-unit: ## Test the parts that need no API server; under a minute.
	go test $(UNIT)

.PHONY: test
test: ## Test everything, on real API and identity servers that are built the first time (about a quarter of an hour on two cores).
	@# Not cached: the cache does not know that the tests build and run the manager.
	@go -C test/controlplane run . etcd kube-apiserver kube-controller-manager kubectl >/dev/null
	@go -C test/identity run . oidcserver >/dev/null
	@go -C test/identity run . hydra >/dev/null
	go -C test/controlplane test -count=1 ./...
	go test -count=1 -timeout 20m $$(go list ./... | grep -v /test/storm)
	@# By itself, and aloud: it prints how a fleet fares whose server is killed.
	go test -count=1 -timeout 10m -v ./test/storm

.PHONY: fault
fault: ## Do to the manager whatever can go wrong, at each step that it makes; docs/reliability.md tells what.
	@# The table at the end is printed aloud, and of the runs only those that fail.
	go test -count=1 -p 1 -timeout 25m -v ./test/fault/... -args -whole | grep --line-buffered -vE '^ *(=== |--- PASS)'

.PHONY: bench
bench: ## Measure a fleet of N sessions (default 2000) against what is promised, on a control plane of its own; writes build/bench.json.
	go run ./test/fleet -n $(or $(N),2000) $(BENCH)

.PHONY: bench-micro
bench-micro: ## Benchmark the decision and the issuer's signing.
	go test -run '^$$' -bench . -benchmem ./internal/...

##@ Deploy it, to the cluster that KUBECONFIG names
.PHONY: install
install: ## Install the CRDs.
	@$(KUBECTL) apply --server-side -k config/crd

.PHONY: uninstall
uninstall: ## Remove the CRDs, and every session with them.
	@$(KUBECTL) delete terminalsessions.terminals.dev --all --all-namespaces --ignore-not-found --timeout=30s || hack/let-go.sh $(KUBECTL)
	@$(KUBECTL) delete --ignore-not-found -k config/crd

.PHONY: deploy
deploy: ## Deploy the manager from IMG; CONFIG=config/namespaced for Roles alone.
	@$(KUBECTL) kustomize $(CONFIG) | sed 's|ghcr.io/terminals-dev/session-controller:latest|$(IMG)|' | $(KUBECTL) apply --server-side -f -

.PHONY: undeploy
undeploy: ## Remove the manager; sessions, CRDs and signing keys stay.
	@$(KUBECTL) delete --ignore-not-found -k $(CONFIG) -l 'app.kubernetes.io/component!=namespace'
	@hack/let-go.sh $(KUBECTL)

.PHONY: docker-build
docker-build: ## Build the image IMG for PLATFORMS.
	docker buildx build --platform=$(PLATFORMS) --tag $(IMG) .
