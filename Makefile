# The commands a person types. CMake does the work; see CONTRIBUTING.md.
#   make run      install what is missing, build a Release, start `msentry run -- /bin/bash`
#   make test     install what is missing, build, run every test through CTest
#                 (CTEST_ARGS="-LE compare" leaves out the real programs)
#   make install  put msentry, libmsentry and its headers under PREFIX (/usr/local)
PREFIX ?= /usr/local
PRESET ?= release
BUILD := build/$(PRESET)
JOBS ?= $(shell nproc)
CTEST_ARGS ?=

# Debian bookworm's names: what the build needs, and what the tests use besides.
BUILD_PACKAGES := g++ cmake ninja-build ccache lld pkg-config libseccomp-dev libboost-context-dev \
  libprotobuf-dev protobuf-compiler libabsl-dev libgtest-dev libgmock-dev libbenchmark-dev \
  libcli11-dev
TEST_PACKAGES := python3 busybox-static uidmap util-linux
CHECK_PACKAGES := clang clang-format libclang-rt-14-dev llvm

.PHONY: all run test install setup setup-test setup-check build format clean

all: build

setup:
	@.ci/install_packages $(BUILD_PACKAGES)
setup-test:
	@.ci/install_packages $(BUILD_PACKAGES) $(TEST_PACKAGES)
setup-check:
	@.ci/install_packages $(BUILD_PACKAGES) $(TEST_PACKAGES) $(CHECK_PACKAGES)

$(BUILD)/build.ninja: CMakePresets.json CMakeLists.txt
	@cmake --preset $(PRESET)

build: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)

run: setup $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS) --target msentry
	@examples/first_session.sh $(BUILD)/cmd/msentry

test: setup-test $(BUILD)/build.ninja
	@cmake --build $(BUILD) -j $(JOBS)
	@cd $(BUILD) && ctest --output-on-failure -j $(JOBS) $(CTEST_ARGS)

install: setup $(BUILD)/build.ninja
	@cmake --preset $(PRESET) -DCMAKE_INSTALL_PREFIX=$(abspath $(PREFIX))
	@cmake --build $(BUILD) -j $(JOBS) --target msentry libmsentry_static libmsentry_shared
	@cmake --install $(BUILD)

format:
	@git ls-files '*.cc' '*.h' '*.c' | xargs -r clang-format -i

clean:
	@rm -rf build
