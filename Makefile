# The front door: each target is a short chain of the commands that do the work (CMake presets, ctest,
# the scripts in deploy/deps and tests/lint). `make` alone prints what there is.

JOBS ?= $(shell nproc)
BIN := build/release/bin
PROGRAMS := longleafd longleaf longleaf-eval longleaf-bench

# Where the shell has no home folder (some CI systems), ccache keeps its files in the build folder.
ifeq ($(HOME),)
export CCACHE_DIR := $(CURDIR)/build/ccache
endif
export CTEST_OUTPUT_ON_FAILURE := 1

.PHONY: help deps deps-test build demo test test-release test-asan test-tsan soak fuzz bench bench-peer load gpu format lint clean

help:
	@echo 'make build    install what is needed (Debian 12) and build the programs into $(BIN)'
	@echo 'make demo     build, then a real document uploaded once and asked many times, in a minute'
	@echo 'make test     everything that is tested: release, asan + ubsan, tsan, lint'
	@echo 'make soak     kills, random clients and fuzzers for hours; ends with a table'
	@echo 'make fuzz     every parser of outside bytes under libFuzzer, a minute each'
	@echo 'make bench    measure this machine, as tests/bench/RESULTS.md does'
	@echo 'make bench-peer   llama.cpp beside it: tests/bench/peer.sh, hours; needs the network once'
	@echo 'make load     measure a server with many readers: tests/bench/load.sh, on the built-in model'
	@echo 'make gpu      pack what a machine with a GPU is to run: tests/gpu/run.sh'
	@echo 'make format   apply clang-format;  make lint   format, layers, clang-tidy'
	@echo 'make deps     only install what is needed;  make clean   remove the build folders'
	@echo 'JOBS=N sets the number of parallel compilations (now $(JOBS))'

deps:
	@deploy/deps/install.sh build

deps-test:
	@deploy/deps/install.sh test

# preset: configure it if that has not been done; ninja itself notices later changes.
build/%/build.ninja: | deps
	cmake --preset $*

# With CUDA where there is nvcc. The tests alone do without: make test in a clean tree needs none.
build: deps
	@grep -qs '^LONGLEAF_CUDA:STRING=AUTO' build/release/CMakeCache.txt || \
	  cmake --preset release -DLONGLEAF_CUDA=AUTO
	cmake --build --preset release -j $(JOBS) --target $(PROGRAMS)

demo: build
	@bash service/cli/demo.sh $(BIN)

test: deps-test
	+@$(MAKE) --no-print-directory test-release
	+@$(MAKE) --no-print-directory test-asan
	+@$(MAKE) --no-print-directory test-tsan
	+@$(MAKE) --no-print-directory lint

test-release: build/release/build.ninja
	cmake --build --preset release -j $(JOBS)
	ctest --preset release -j $(JOBS)

# The sanitizers build and run the unit, service and short soak tests, and asan replays the fuzzers' corpora.
test-asan: build/asan/build.ninja
	cmake --build --preset asan -j $(JOBS) --target tests-unit tests-service tests-soak tests-fuzz
	ctest --preset asan -j $(JOBS) -L '^(unit|service|soak|fuzz)$$'

# What has threads: tokenizer, configuration, scheduling policy and the like have none.
test-tsan: build/tsan/build.ninja
	cmake --build --preset tsan -j $(JOBS) --target tests-kernels tests-cache_store tests-crash tests-service tests-soak
	ctest --preset tsan -j $(JOBS) -L '^(kernels|cache_store|crash|service|soak)$$' -LE '^scheduler$$'

soak: deps-test
	@tests/soak/soak.sh

fuzz: deps-test build/fuzz/build.ninja
	cmake --build --preset fuzz -j $(JOBS) --target tests-fuzz
	ctest --preset fuzz -L fuzz

bench: build
	@bash tests/bench/run.sh $(BIN)

bench-peer: build
	@bash tests/bench/peer.sh $(BIN) $(PEER_FLAGS)

load: build
	@bash tests/bench/load.sh $(BIN) demo

gpu: deps-test
	@tests/gpu/run.sh bundle

format: deps-test
	@tests/lint/format.sh --fix

lint: deps-test build/release/build.ninja
	@tests/lint/run.sh build/release

clean:
	rm -rf build/release build/debug build/asan build/tsan build/fuzz build/cuda build/gpu
