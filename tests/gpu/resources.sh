#!/usr/bin/env bash
# What every kernel takes of a chip, as ptxas said when it was compiled: registers a thread, shared
# memory, spills, for each target.
#
#   tests/gpu/resources.sh [BUILD_DIR]     build/cuda unless named; writes BUILD_DIR/resources.txt
#
# Fails when a kernel spills registers to memory, or when nothing was compiled.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:-build/cuda}

# Objects of sources that are gone leave their reports behind.
mapfile -t reports < <(find "$build" -name '*.cu.o.ptxas' | sort | while read -r report; do
  [ -f "${report%.ptxas}" ] && printf '%s\n' "$report"; done)
if [ "${#reports[@]}" -eq 0 ]; then
  echo "resources: no kernels below $build; build preset cuda first" >&2
  exit 1
fi

cat "${reports[@]}" | c++filt --no-params | awk '
  /Compiling entry function/ {
    split($0, quoted, "\047"); kernel = quoted[2]; target = quoted[4]
    gsub(/longleaf::kernels::(cuda::)?|\(anonymous namespace\)::/, "", kernel); sub(/^void /, "", kernel)
  }
  /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
  /Used [0-9]+ registers/ {
    registers = shared = 0
    if (match($0, /[0-9]+ registers/)) registers = substr($0, RSTART, RLENGTH) + 0
    if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH) + 0
    printf "%-7s %4d %7d %6d %6d %6d  %s\n", target, registers, shared, stack, stores, loads, kernel
  }' | sort -k7 -k1,1 -u >"$build/resources.body"
{
  printf '%-7s %4s %7s %6s %6s %6s  %s\n' target regs shared stack stores loads kernel
  cat "$build/resources.body"
} >"$build/resources.txt"
rm "$build/resources.body"

awk 'NR > 1 && ($5 > 0 || $6 > 0) { print "resources: spills: " $0; spills = 1 } END { exit spills }' \
  "$build/resources.txt" >&2 || exit 1
echo "resources: $(($(wc -l <"$build/resources.txt") - 1)) kernels, no spills: $build/resources.txt"
