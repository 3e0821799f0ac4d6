#!/usr/bin/env bash
# clang-format over all our C++ and proto files: format.sh checks, format.sh --fix rewrites.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/lint/sources.sh

mode=(--dry-run --Werror)
[ "${1:-}" = --fix ] && mode=(-i)
{
  cpp_sources kernels model cache_store service tests
  git ls-files --cached --others --exclude-standard -- 'proto/*.proto'
} | xargs -r -n 16 -P "$(nproc)" clang-format "${mode[@]}"
