#!/usr/bin/env bash
# What the link graph in CMakeLists.txt cannot see: includes that cross a layer, and the few things
# that no file of ours may hold. Prints each finding as file:line and fails if there is one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
source tests/lint/sources.sh

found=0
# report RULE: findings on the standard input, one a line.
report() {
  local line
  while IFS= read -r line; do
    printf '%s   (%s)\n' "$line" "$1"
    found=1
  done
}

# forbid FOLDER INCLUDE_PATTERN RULE: no file of the folder includes a path that starts like that.
forbid() {
  report "$3" < <(cpp_sources "$1" | xargs -r grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($2)" || true)
}
rpc='grpc/|grpc\+\+/|grpcpp/|google/(protobuf|rpc)/|longleaf/v1/|proto/'
cuda='cuda|cublas|cublasLt|mma\.h|cooperative_groups'
forbid kernels "model/|service/|cache_store/|rocksdb/|$rpc" 'kernels stands alone'
forbid cache_store "model/|service/|kernels/|$rpc|$cuda" 'cache_store knows bytes, RocksDB and Abseil'
forbid model "service/|cache_store/|rocksdb/|$rpc|$cuda" 'model stands on kernels'
forbid service "rocksdb/|$cuda" 'RocksDB stays in cache_store, CUDA in kernels/cuda'
forbid service/eval "$rpc|prometheus/" 'longleaf-eval works without the network'
forbid service/cli 'model/|kernels/|cache_store/' 'the client knows the contract only'
report 'CUDA headers stay in kernels/cuda' < <(
  cpp_sources kernels | grep -v '^kernels/cuda/' |
    xargs -r grep -nHE "^[[:space:]]*#[[:space:]]*include[[:space:]]*[<\"]($cuda)" || true)
report 'no conditional CUDA in headers' < <(
  cpp_sources kernels model cache_store service | grep '\.h$' | grep -v '^kernels/cuda/' |
    xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*if.*CUDA' || true)

# Only the entry points may end the process; everything else answers with a status.
report 'no abort, exit or assert outside main.cc' < <(
  cpp_sources kernels model cache_store service | grep -v '/main\.cc$' |
    xargs -r grep -nHE '(^|[^_.>[:alnum:]])(std::)?(abort|exit|quick_exit|assert)[[:space:]]*\(' || true)
report 'finish it or leave it out' < <(
  cpp_sources kernels model cache_store service tests |
    xargs -r grep -nHwE 'TODO|FIXME|XXX|HACK' || true)
# Of tests/soak, time is the matter itself: how long a server lives, when it is looked at.
report 'a test runs, and waits for events, not for time' < <(
  cpp_sources tests | grep -v '^tests/soak/' | xargs -r grep -nHE 'DISABLED_|GTEST_SKIP|sleep_for|sleep_until|usleep\(' || true)
report 'more than 400 lines; one file has one responsibility' < <(
  cpp_sources kernels model cache_store service tests | xargs -r wc -l | awk '$2 != "total" && $1 > 400 {print $2 ":" $1}')
report 'larger than 8 MiB, and not the demo model' < <(
  git ls-files -z | xargs -0 -r stat -c '%s %n' 2>/dev/null |
    awk '$1 > 8388608 && $2 !~ /^model\/demo\// {print $2 ":1"}')
report 'each header has its guard, named by its path' < <(
  cpp_sources kernels model cache_store service tests | grep '\.h$' | while read -r header; do
    [[ $header == *-inl.h ]] && continue # Highway reads these once per target, with a guard of its own
    guard="LONGLEAF_$(tr '[:lower:]/.' '[:upper:]__' <<<"$header")_"
    grep -q "^#ifndef $guard\$" "$header" || printf '%s:1: %s\n' "$header" "$guard"
  done)

exit "$found"
