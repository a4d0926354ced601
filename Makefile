# Everything that a person or CI does with a checkout. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# Tests and the bench have a lab of their own, beside the one that is for trying.
ifneq ($(filter test molecule opensearch first-boot seasoned backup restore rotation debian12 interrupted power-loss bench bench-backups,$(MAKECMDGOALS)),)
ifeq ($(origin LAB_NAME)$(origin LAB_SUBNET),undefinedundefined)
LAB_NAME := test
LAB_SUBNET := 10.0.9.0/24
endif
endif
ifneq ($(filter bench,$(MAKECMDGOALS)),)
SCENARIO ?= short
endif
LAB_NAME ?= demo
LAB_SUBNET ?= 10.0.1.0/24
HOST ?= node1
SCENARIO ?= default
COMMIT ?= 1a863b2
ARGS ?=

export LAB_NAME LAB_SUBNET
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/collections
export MOLECULE_EPHEMERAL_DIRECTORY := $(CURDIR)/.lab/molecule-$(LAB_NAME)

LAB := python3 molecule/shared/lab.py
TIMED := molecule/shared/timed.sh
PLAYBOOK := ansible-playbook -i inventories/lab
LAB_PYTEST := python3 -m pytest -s -ra --hosts=ansible://all --ansible-inventory=inventories/lab --sudo

.PHONY: help
help: ## List the targets
	@echo "make TARGET [LAB_NAME=$(LAB_NAME)] [LAB_SUBNET=$(LAB_SUBNET)] [PYTHON=python3.13] [ARGS='--tags etcd']"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: up ## Three hosts become a cluster; ends with its status and how to connect
	@$(TIMED) "Deploy: playbooks/site.yml" $(LAB) measure $(PLAYBOOK) playbooks/site.yml $(ARGS)
	@$(TIMED) "Status: playbooks/status.yml" $(PLAYBOOK) playbooks/status.yml
	@$(LAB) access

.PHONY: demo-down
demo-down: ## Leave nothing of the lab: containers, network, volumes, processes, keys, secrets
	@$(LAB) down

.PHONY: up
up: machine venv ## Start the lab's hosts, with nothing on them
	@$(LAB) up

.PHONY: converge
converge: venv ## Run playbooks/site.yml on the lab
	@$(TIMED) "Deploy: playbooks/site.yml" $(PLAYBOOK) playbooks/site.yml $(ARGS)

.PHONY: plan
plan: venv ## Show what the lab's inventory means, and touch nothing
	@$(PLAYBOOK) playbooks/plan.yml $(ARGS)

.PHONY: status
status: venv ## Show the cluster on one screen
	@$(PLAYBOOK) playbooks/status.yml $(ARGS)

.PHONY: shell
shell: ## A root shell on a host: make shell HOST=node1
	@$(LAB) shell $(HOST)

.PHONY: journal
journal: ## The journals of all hosts since they were created
	@$(LAB) journal

.PHONY: test
test: static unit rotation molecule ## All that CI runs: lint, unit, sanity, the Molecule scenario of the day, the whole platform

# Side by side: each keeps one core busy, and the machines that run this have two.
.PHONY: static
static: venv ## lint and sanity, side by side
	@$(TIMED) "Lint and sanity" $(MAKE) -j2 lint sanity

.PHONY: lint
lint: venv ## ruff, yamllint, ansible-lint, the importer of Galaxy, the documentation of the plugins
	@$(TIMED) "Lint: ruff" ruff check .
	@$(TIMED) "Lint: ruff format" ruff format --check .
	@$(TIMED) "Lint: yamllint" yamllint --strict .
	@$(TIMED) "Lint: ansible-lint" ansible-lint --offline --strict
	@$(TIMED) "Lint: publication" tests/publication.sh

.PHONY: unit
unit: machine venv ## Unit tests, without network and hosts
	@$(TIMED) "Unit tests" python3 -m pytest -q tests/unit $(ARGS)

.PHONY: sanity
sanity: venv ## ansible-test sanity, without containers
	@$(TIMED) "Sanity" tests/sanity/run.sh

.PHONY: pages
pages: venv ## docs/ports.md, docs/settings.md, docs/application.md, the picture in docs/architecture.md and CHANGELOG.md from the code
	@python3 tests/pages/generate.py

.PHONY: cores
cores: machine ## Unit and sanity tests on every maintained ansible-core with the Pythons that are there: ARGS='2.20 2.22'
	@$(TIMED) "Cores" tests/cores.sh $(ARGS)

.PHONY: opensearch
opensearch: machine venv ## The search cluster alone with its second flavor, on hosts of their own
	@$(TIMED) "Molecule, OpenSearch" molecule test --scenario-name opensearch

.PHONY: first-boot
first-boot: export LAB_HOSTS := node1 node2 node3 node4
first-boot: machine venv ## First starts of Elasticsearch that go wrong, and a host that joins later
	@$(TIMED) "Molecule, first boot" molecule test --scenario-name first_boot

.PHONY: seasoned
seasoned: machine venv ## The whole platform on hosts that were in use before, refused first (seven minutes)
	@$(TIMED) "Molecule, seasoned hosts" molecule test --scenario-name seasoned

.PHONY: backup
backup: export LAB_HOSTS := node1 node2 node3 backup1
backup: machine venv ## Backups with a backup host of their own: taken, verified, damaged on purpose, kept, removed, and restored store by store
	@$(TIMED) "Molecule, backups" molecule test --scenario-name backup

.PHONY: restore
restore: export LAB_HOSTS := node1 node2 node3 backup1
restore: machine venv ## The whole platform destroyed under load, and brought back from its backups, on hosts of their own
	@$(LAB) down
	@$(LAB) up
	@$(TIMED) "Deploy: playbooks/site.yml" ansible-playbook -i molecule/backup/inventory playbooks/site.yml
	@$(TIMED) "Restore of the platform" python3 -m pytest tests/testinfra/guarantees/test_restore_all.py -s -ra $(ARGS)
	@$(LAB) down

.PHONY: debian12
debian12: export LAB_DEBIAN := 12
debian12: machine venv ## The whole platform on hosts with Debian 12: deploy, verify, fail over, a short drill (half an hour)
	@$(TIMED) "Molecule, Debian 12" molecule test --scenario-name debian12 --destroy=never
	@$(TIMED) "Drill: short" $(PLAYBOOK) playbooks/drill.yml -e scenario=short -e drill_output=$(CURDIR)/tests/output/drill-debian12
	@$(LAB) down

.PHONY: core-of-the-day
core-of-the-day: ## Unit and sanity tests on the ansible-core and the Python whose turn it is today
	@$(MAKE) cores ARGS=$(word $(shell echo $$(( $$(date +%-j) / $(words $(ROTATION)) % $(words $(CORES)) + 1 ))),$(CORES))

# Scenarios of parts, and one core, one of which a test runs, by the day of the year. Each has to end within 12 minutes and to leave no lab.
CORES := 2.19-3.11 2.20-3.12 2.21-3.12 2.21-3.13
ROTATION := first-boot seasoned opensearch core-of-the-day
TODAYS := $(word $(shell echo $$(( $$(date +%-j) % $(words $(ROTATION)) + 1 ))),$(ROTATION))

.PHONY: rotation
rotation: ## The one of the long targets whose turn it is today
	@echo "==> Rotation: today's turn, of $(ROTATION), is: $(TODAYS)"
	@$(MAKE) $(TODAYS)

.PHONY: molecule
molecule: machine venv ## The whole platform: create, converge, idempotence, verify, a short drill, on hosts of their own
	@$(TIMED) "Molecule" $(LAB) measure molecule test --scenario-name default --destroy=never
	@echo; cat tests/output/failover.md; echo
	@$(TIMED) "Drill: short" $(PLAYBOOK) playbooks/drill.yml -e scenario=short -e drill_output=$(CURDIR)/tests/output/drill
	@$(LAB) down

.PHONY: operations
operations: up ## Rolling operations under load, sabotage, kills and upgrades, on the lab as it is (more than an hour)
	@$(MAKE) converge ARGS=
	@$(TIMED) "Operations" $(LAB_PYTEST) tests/testinfra/operations $(ARGS)

.PHONY: changes
changes: up ## Every password changed under load, and changes that are refused, on the lab as it is (an hour)
	@$(MAKE) converge ARGS=
	@$(TIMED) "Changes" $(LAB_PYTEST) tests/testinfra/changes $(ARGS)

.PHONY: earlier
earlier: EARLIER := .lab/$(LAB_NAME)/earlier
earlier: machine venv demo-down ## The lab deployed by an earlier commit, taken over under load by this one: COMMIT=1a863b2 (ten minutes)
	git clone -q . $(EARLIER) && git -C $(EARLIER) checkout -q $(COMMIT)
	mkdir -p .lab/cache $(EARLIER)/.lab && cp -r .lab/cache $(EARLIER)/.lab/ && ln -s ../../../$(LAB_NAME) $(EARLIER)/.lab/$(LAB_NAME)
	@$(TIMED) "Deploy by $(COMMIT)" $(MAKE) -C $(EARLIER) demo ARGS=
	@$(LAB) up
	@$(TIMED) "Taken over from $(COMMIT)" $(LAB_PYTEST) tests/testinfra/earlier $(ARGS)

.PHONY: drill
drill: up ## A drill on the lab as it is: SCENARIO=default|short|all|FAULT, ARGS='-e repeat=3'
	@$(MAKE) converge ARGS=
	@$(TIMED) "Drill: $(SCENARIO)" $(PLAYBOOK) playbooks/drill.yml -e scenario=$(SCENARIO) $(ARGS)

.PHONY: drill-test
drill-test: up ## Whether a drill leaves nothing behind and finds what is lost, on the lab
	@$(MAKE) converge ARGS=
	@$(TIMED) "Drill tests" $(LAB_PYTEST) tests/testinfra/drill $(ARGS)

.PHONY: soak
soak: up ## Whether a machine with every core saturated is taken for a failure, on the lab: SOAK_SECONDS=900
	@$(MAKE) converge ARGS=
	@$(TIMED) "Soak" python3 -m pytest tests/testinfra/guarantees/test_soak.py -s -ra $(ARGS)

.PHONY: lost-clients
lost-clients: up ## How long locks of clients stay whose way to the database was lost, on the lab: LOST_TURNS=10 LOST_IDLE_S=1800
	@$(MAKE) converge ARGS=
	@$(TIMED) "Lost clients" $(LAB_PYTEST) tests/testinfra/guarantees/test_lost_clients.py $(ARGS)

.PHONY: interrupted
interrupted: machine venv ## site.yml killed at random moments, deploying and changing, on hosts of their own: INTERRUPTIONS=20
	@$(LAB) down
	@$(LAB) up
	@$(TIMED) "Interrupted runs" python3 -m pytest tests/testinfra/guarantees/test_interrupted.py -s -ra -x $(ARGS)
	@$(LAB) down

.PHONY: power-loss
power-loss: machine venv ## A host that loses its power during its first installation, on hosts of their own
	@$(LAB) down
	@$(LAB) up
	@$(TIMED) "Power loss" python3 -m pytest tests/testinfra/guarantees/test_power_loss.py -s -ra $(ARGS)
	@$(LAB) down

.PHONY: bench
bench: machine venv ## Runs, throughput, memory and a drill's outages measured on a fresh lab: SCENARIO=short|…|none
	@$(TIMED) "Programs that measure" molecule/shared/setup.sh bench
	@$(LAB) down
	@$(LAB) up
	@$(TIMED) "Bench" python3 tests/bench/bench.py --scenario "$(SCENARIO)" $(ARGS)
	@$(LAB) down

.PHONY: bench-backups
bench-backups: export LAB_HOSTS := node1 node2 node3 backup1
bench-backups: machine venv ## What archiving and backups cost, measured on a fresh lab with a backup host
	@$(TIMED) "Programs that measure" molecule/shared/setup.sh bench
	@$(LAB) down
	@$(LAB) up
	@$(TIMED) "Bench of backups" python3 tests/bench/bench.py --backups $(ARGS)
	@$(LAB) down

.PHONY: clean
clean: demo-down ## Also remove .venv and the host images
	@docker images --quiet utmstack-ha-lab 2> /dev/null | xargs --no-run-if-empty docker rmi
	@rm -rf .venv .venv-cores .ansible .lab/cache .lab/nofile.so tests/output; rmdir .lab 2> /dev/null || true

.PHONY: machine
machine:
	@$(TIMED) "Install packages on this machine" molecule/shared/setup.sh machine

.PHONY: s3
s3: ## The lab's S3-compatible server, built once: for tests/testinfra/backup/test_remote.py
	@$(TIMED) "S3-compatible server" molecule/shared/setup.sh s3

.PHONY: venv
venv:
	@molecule/shared/setup.sh venv
