#!/usr/bin/env bash
# The CPU kernels on Arm (NEON), without an Arm machine: compiled with clang for aarch64 and run
# under qemu's user emulation, which shows that they are right, not how fast they are.
#
#   tests/arm/run.sh [TEST...]      default: quantised linear transfer state cca_attention
#
# Installs a cross compiler's headers and qemu (apt-get, as root or with sudo); arm64 libraries are
# downloaded and unpacked into build/arm, not installed. Outside CI: emulation takes its time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

out=$PWD/build/arm
root=$out/root
libraries=$root/usr/lib/aarch64-linux-gnu
sudo=$([[ $(id -u) == 0 ]] || echo sudo)
if [[ $# -eq 0 ]]; then set -- quantised linear transfer state cca_attention; fi

$sudo apt-get install -y -qq g++-aarch64-linux-gnu qemu-user-static clang >/dev/null

# A package list of its own, so that this machine's stays as it is.
if [[ ! -d $libraries ]]; then
  mkdir -p "$out"/apt/{state/lists/partial,cache/archives/partial} "$out/packages" "$root"
  apt=(-qq -o Dir::State="$out/apt/state" -o Dir::Cache="$out/apt/cache" -o APT::Sandbox::User=root
    -o APT::Architecture=arm64 -o APT::Architectures::=arm64)
  apt-get "${apt[@]}" update
  (cd "$out/packages" && apt-get "${apt[@]}" download libhwy-dev libhwy1 libgtest-dev libgmock-dev \
    libabsl-dev libabsl20220623 libdnnl-dev libdnnl2 libgomp1)
  for package in "$out"/packages/*.deb; do dpkg -x "$package" "$root"; done
fi

flags=(--target=aarch64-linux-gnu -std=c++20 -O2 -DNDEBUG -DHWY_SHARED_DEFINE
  "-DLONGLEAF_SOURCE_DIR=\"$PWD\"" -Wall -Wextra -Wpedantic -Wshadow -Werror -I. -isystem
  "$root/usr/include" -isystem "$root/usr/include/aarch64-linux-gnu")
sources=(kernels/*.cc kernels/cpu/*.cc tests/unit/kernels/backend_fixture.cc)
for test in "$@"; do sources+=("tests/unit/kernels/${test}_test.cc"); done
mkdir -p "$out/objects"
printf '%s\n' "${sources[@]}" | out=$out xargs -P "$(nproc)" -I{} bash -c \
  'source=$1; shift; clang++ "$@" -c "$source" -o "$out/objects/${source//\//_}.o"' - {} "${flags[@]}"

status=0
for test in "$@"; do
  clang++ --target=aarch64-linux-gnu -o "$out/${test}_test" "$out"/objects/kernels_*.o \
    "$out/objects/tests_unit_kernels_backend_fixture.cc.o" \
    "$out/objects/tests_unit_kernels_${test}_test.cc.o" -L"$libraries" -lgmock_main -lgmock -lgtest \
    -lhwy -ldnnl -Wl,--start-group $(ls "$libraries"/libabsl_*.a | grep -v flags_) -Wl,--end-group \
    "$libraries/libgomp.so.1" -lpthread -Wl,--allow-shlib-undefined
  echo "$test:"
  # The reference needs no second machine, and three threads no second emulation.
  qemu-aarch64-static -L /usr/aarch64-linux-gnu \
    -E LD_LIBRARY_PATH="$libraries:/usr/aarch64-linux-gnu/lib" "$out/${test}_test" \
    --gtest_brief=1 --gtest_filter='-*ThreeThreads*:*Reference*' || status=1
done
exit $status
