# Everything is done by the host tool `xtask`; this file fetches what is missing and calls it.
#   make run      boot, run the benchmark on a fresh disk, check the disk      make test   all tests
#   make help     the other targets
.DEFAULT_GOAL := help
SHELL := /bin/bash
XTASK := cargo run --quiet --package xtask --
# Variables such as DISK=my.img reach it by the environment. None is exported here: an empty one would count as given.

.PHONY: setup
setup:
	@sh xtask/setup.sh

.PHONY: setup-images
setup-images: setup
	@sh xtask/setup.sh images

.PHONY: image run shell apps test bootimage boottest kernel models-long lab demo count numbers museum powercut powercut-long fuzz soak clean help
run: setup ## boot and run /bin/bench on a fresh disk; DISK=my.img INIT="/bin/prog arg" for your own, PKGS="sqlite3" for packages; MEM=, SMP=; JSON=rows.json keeps the rows
	@$(XTASK) run $(if $(SECONDS),--seconds $(SECONDS))
image: setup ## a disk image from Debian packages: PKGS="sqlite3 fio" OUT=x.img; DIR=folder is copied over it; SIZE=MiB
	@$(XTASK) image
shell: setup ## boot a shell on this terminal; PKGS="sqlite3 fio", DIR=folder, DISK=my.img, MEM=, SMP=; leave with exit
	@$(XTASK) shell
apps: setup ## Debian programs, each checked in a guest of its own (docs/APPS.md); ONLY=fio,sqlite; HOST=1 checks the checks under Linux
	@$(XTASK) apps
test: setup ## all tests; closes with "N passed, N failed"
	@$(XTASK) test
kernel: setup ## the kernel ELF at target/sluice
	@$(XTASK) kernel
bootimage: setup-images ## disk images of the kernel for BIOS and UEFI, at target/sluice-bios.img and -uefi.img; CMDLINE="root=/dev/vda init=/bin/bench"
	@$(XTASK) bootimage
boottest: setup-images ## boots both images, through the in-kernel tests and a program; the loaders take minutes to build
	@$(XTASK) boottest
models-long: setup ## the models under 100,000 random schedules each; SCHEDULES=, SEED=
	@SCHEDULES=$(or $(SCHEDULES),100000) $(XTASK) test --only models
lab: setup ## races played step by step in the kernel with the lab: lists them; SCENARIO=R01 plays one, SCENARIO=all all; OFF=R12 switches a guard off
	@$(XTASK) lab
demo: setup ## one aio write-through against one truncate, told as a timeline; target/demo/trace.json for Perfetto
	@$(XTASK) demo
count: setup ## guest instructions an operation, beside those of Linux in the same QEMU; LINUX=0 leaves it out; ONLY=row,row*; PROFILE=row tells where they go
	@$(XTASK) count
numbers: setup ## boot time, the clock, smallest memory, sizes
	@$(XTASK) numbers
museum: setup ## each guard switched off in turn; the named test must then fail
	@$(XTASK) museum
powercut: setup ## the power cut in the middle of everything, 10,000 states; the kernel in QEMU plays for 1,000 more, and recovers 500; STATES=, GUEST=, BOOTED=, SEED=, ONLY=workload, RUN=n
	@$(XTASK) powercut
powercut-long: setup ## the same ten times: 100,000 states, 10,000 of what QEMU plays, 5,000 recovered there
	@$(XTASK) powercut --states 100000
fuzz: setup ## search for images that break ext4: TARGET=mount, journal, directory or extents, else all; RUNS=1000000
	@$(XTASK) fuzz
soak: setup ## random operations against a model on all CPUs, for MINUTES=30; SEED=
	@$(XTASK) soak
clean: ## remove what was built
	@cargo clean
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 18
