#!/usr/bin/env bash
# clang-tidy, with the rules of .clang-tidy, over our own sources (tests excepted: they are compiled
# with all warnings, and tidying them would cost more minutes than it finds mistakes):
#
#   tests/lint/tidy.sh BUILD_DIR [FOLDER...]      BUILD_DIR has a compile_commands.json
#
# tidy.py looks at many at once. What that build does not compile (kernels/cuda, without nvcc) is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/lint/sources.sh
build=${1:?usage: $0 BUILD_DIR}

shift
[ $# -gt 0 ] || set -- kernels model cache_store service
cpp_sources "$@" | grep '\.cc$' |
  while read -r file; do grep -qF "/$file\"" "$build/compile_commands.json" && printf '%s\n' "$file"; done |
  python3 tests/lint/tidy.py "$build"
