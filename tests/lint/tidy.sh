#!/usr/bin/env bash
# clang-tidy, with the rules of .clang-tidy, over our own sources (tests excepted: they are compiled
# with all warnings, and tidying them would cost more minutes than it finds mistakes):
#
#   tests/lint/tidy.sh BUILD_DIR [FOLDER...]      BUILD_DIR has a compile_commands.json
#
# What that build does not compile (kernels/cuda, without nvcc) is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/lint/sources.sh
build=${1:?usage: $0 BUILD_DIR}

# Each file's findings come out in one piece; what clang-tidy says about warnings that it suppressed
# in system headers is no finding.
tidy_one() {
  local out
  if ! out=$(clang-tidy -p "$1" --quiet "$2" 2>&1); then
    printf '%s\n' "$out" | grep -vE '^[0-9]+ warnings? (generated|treated)'
    return 1
  fi
}
export -f tidy_one
shift
[ $# -gt 0 ] || set -- kernels model cache_store service
cpp_sources "$@" | grep '\.cc$' |
  while read -r file; do grep -qF "/$file\"" "$build/compile_commands.json" && printf '%s\n' "$file"; done |
  xargs -r -n 1 -P "$(nproc)" bash -c 'tidy_one "$@"' tidy "$build"
