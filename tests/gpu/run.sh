#!/usr/bin/env bash
# Takes what was built to a machine with a GPU, and runs it there: a machine with a driver, cuBLASLt
# somewhere, Python for the tables, and neither network nor compiler.
#
#   tests/gpu/run.sh bundle [FOLDER]   here: builds target `gpu` of preset cuda, writes the kernels'
#                                      resource report, and packs programs, shared libraries and
#                                      test data into FOLDER/bundle.tar.xz (build/gpu)
#   tests/gpu/run.sh run [STAGE...]    there, from the same place in the tree, or beside bundle.tar.xz:
#       tests      the ordinary tests of the backends, on CUDA
#       sanitize   some of them under compute-sanitizer, where that works
#       kernels    attention, products, saving and restoring, beside PyTorch's attention
#       models     LLaMA-2-7B and Llama-3.1-8B shapes with random weights, whole
#     Without a stage: all of them. $OUT (build/gpu/out) gets results.md, and the logs; a short table
#     is printed last. Fails when a test failed.
#
# GPU_LENGTHS (32768,65536,131072), GPU_SHAPES (7b,8b), GPU_MODELS (llama2-7b,llama3.1-8b), GPU_DEVICE
# (cuda) and GPU_WORK (/tmp/longleaf-gpu) say otherwise. The card's settings are left as they are.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root" || exit 2
lengths=${GPU_LENGTHS:-32768,65536,131072}
shapes=${GPU_SHAPES:-7b,8b}
models=${GPU_MODELS:-llama2-7b,llama3.1-8b}
device=${GPU_DEVICE:-cuda}
work=${GPU_WORK:-/tmp/longleaf-gpu}

# ---- here --------------------------------------------------------------------------------------

# Everything a program loads but what every glibc machine has and what belongs to the driver.
libraries_of() {
  ldd "$@" | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | sort -u |
    grep -vE '/(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|cuda|cublasLt))\.so[.0-9]*$'
}

bundle() {
  local build=build/cuda folder=${1:-build/gpu} stage
  cmake --preset cuda >/dev/null && cmake --build --preset cuda -j "$(nproc)" --target gpu || return 1
  tests/gpu/resources.sh "$build" || return 1
  stage=$(mktemp -d) || return 1
  mkdir -p "$folder" "$stage"/{bin,lib,tests/gpu/device} || return 1
  cp "$build"/bin/{gpu_*,longleafd,longleaf,longleaf-eval,longleaf-bench} "$stage/bin/" || return 1
  strip "$stage"/bin/*
  # shellcheck disable=SC2046
  cp -L $(libraries_of "$stage"/bin/*) "$stage/lib/" || return 1
  strip --strip-unneeded "$stage"/lib/* 2>/dev/null
  cp "$build/resources.txt" "$stage/" &&
    cp tests/gpu/run.sh "$stage/tests/gpu/" &&
    cp tests/gpu/device/*.py "$stage/tests/gpu/device/" &&
    cp -r --parents tests/golden/data model/demo "$stage/" || return 1
  git rev-parse HEAD >"$stage/commit" 2>/dev/null
  # Every program holds all kernels: xz, unlike gzip, looks back far enough to see that.
  tar -C "$stage" -c . | xz -9 >"$folder/bundle.tar.xz" || return 1
  cp tests/gpu/run.sh "$folder/"
  rm -rf "$stage"
  du -h "$folder/bundle.tar.xz"
}

# ---- there -------------------------------------------------------------------------------------

say() { printf '\n== %s (%s)\n' "$*" "$(date +%T)"; }

unpack() {
  local bundle
  for bundle in "$root/build/gpu/bundle.tar.xz" "$root/bundle.tar.xz" \
    "$(dirname "${BASH_SOURCE[0]}")/bundle.tar.xz"; do
    [ -f "$bundle" ] && break
  done
  rm -rf "$work/bundle" && mkdir -p "$work/bundle" || return 1
  tar -C "$work/bundle" -xJf "$bundle" 2>/dev/null ||
    python3 -c 'import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])' "$bundle" \
      "$work/bundle" || return 1
  # cuBLASLt as NVIDIA's installer leaves it, or as Python's packages bring it.
  local cublas paths
  cublas=$(ls -d /usr/local/cuda/lib64 /usr/local/cuda/targets/*/lib 2>/dev/null
    python3 -c 'import glob, sys
for path in sys.path:
    print(*glob.glob(path + "/nvidia/*/lib"), sep="\n")' 2>/dev/null)
  paths=$(tr '\n' ':' <<<"$cublas")
  export LD_LIBRARY_PATH="$work/bundle/lib:$paths${LD_LIBRARY_PATH:-}"
}

describe() {
  local field=name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit
  echo "# GPU results, $(date +%F), commit $(cut -c1-12 commit 2>/dev/null)"
  echo
  nvidia-smi --query-gpu=$field --format=csv,noheader 2>/dev/null |
    sed 's/^/chip, driver, memory, SM clock now and at most, memory clock, power limit: /' ||
    echo 'no nvidia-smi'
}

is_hopper() {
  [ "$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -1)" = 9.0 ]
}

# Those that this chip can run.
test_programs() {
  local program
  for program in bin/gpu_*_test; do
    case $program in
      *wgmma*) is_hopper || continue ;;
    esac
    echo "$program"
  done
}

# program LOG: runs one test program; prints its verdict, and what failed in it.
test_program() {
  local log="$out/$1.log" status
  shift
  timeout 300 "$@" >"$log" 2>&1
  status=$?
  grep -E '^\[  (PASSED|FAILED)  \]' "$log" | sort -u | head -12
  return "$status"
}

tests() {
  say tests
  local program name verdict
  printf '\nTests of the backends on %s\n\n| program | verdict |\n|---|---|\n' "$device" >>"$results"
  for program in $(test_programs); do
    name=$(basename "$program")
    if test_program "$name" "$program" --gtest_brief=1; then verdict=passed; else verdict=FAILED; failed=1; fi
    echo "$name $verdict"
    echo "| $name | $verdict |" >>"$results"
  done
}

# Hours on all tests: those of each kernel with the smallest shapes find what there is to find.
sanitize() {
  say compute-sanitizer
  local tool program name verdict
  if ! command -v compute-sanitizer >/dev/null; then
    echo "compute-sanitizer: not here" | tee -a "$results"
    return
  fi
  printf '\ncompute-sanitizer\n\n| tool | program | verdict |\n|---|---|---|\n' >>"$results"
  for tool in memcheck racecheck synccheck initcheck; do
    for program in $(test_programs); do
      name=$(basename "$program")
      if test_program "$tool-$name" timeout 120 compute-sanitizer --tool "$tool" --error-exitcode 9 \
        "$program" --gtest_brief=1 --gtest_filter="${GPU_SANITIZE_FILTER:-*}"; then
        verdict=clean
      else
        case $? in
          124) verdict='clean until it ran out of time' ;;
          9) verdict=FAILED; failed=1 ;;
          *) verdict='did not run' ;;
        esac
        grep -qE 'ERROR SUMMARY: [1-9]' "$out/$tool-$name.log" && { verdict=FAILED; failed=1; }
        grep -q 'Device not supported' "$out/$tool-$name.log" && verdict='not possible on this machine'
      fi
      echo "$tool $name $verdict"
      echo "| $tool | $name | $verdict |" >>"$results"
    done
  done
}

kernels() {
  say kernels
  local table
  local prefill="attention_bench --parts prefill --lengths $lengths --shapes $shapes" on_hopper=()
  if is_hopper; then on_hopper=("$prefill --hopper on"); fi
  for table in "$prefill" "${on_hopper[@]}" \
    "attention_bench --parts decode --lengths $lengths --shapes $shapes" \
    "attention_bench --parts shared --lengths $lengths --shapes $shapes" \
    "linear_bench --shapes $shapes" "transfer_bench --tokens ${lengths##*,}"; do
    # shellcheck disable=SC2086
    timeout 240 bin/gpu_$table --device "$device" --markdown "$results" 2>&1 ||
      { echo "FAILED: $table" | tee -a "$results"; failed=1; }
  done
  timeout 240 python3 tests/gpu/device/sdpa.py --lengths "$lengths" --shapes "$shapes" \
    --markdown "$results" 2>&1 ||
    echo "no figures from PyTorch" | tee -a "$results"
}

models() {
  say models
  local model json policy batch
  for model in ${models//,/ }; do
    [ -d "$work/$model" ] || bin/longleaf-eval random-model --shape "$model" --out "$work/$model" \
      --context 200000 --tokenizer model/demo || { failed=1; continue; }
    for batch in 64 16; do
      json="$out/$model-$batch.json"
      # What full attention of 16 answers costs is known from 64.
      policy='--attention cca:g=16,w=1024,heads=query --attention full'
      [ "$batch" = 16 ] && policy='--attention cca:g=16,w=1024,heads=query'
      # shellcheck disable=SC2086
      timeout 280 bin/longleaf-eval bench --model "$work/$model" --device "$device" --weights bf16 \
        --state-dtype bf16 --length "$lengths" $policy --batch "$batch" --decode-tokens 64 \
        --memory-only --json >"$json" 2>"$json.log" || { tail -2 "$json.log"; failed=1; continue; }
      python3 tests/gpu/device/model_table.py "$json" "$model" "$batch" --markdown "$results"
    done
  done
}

run() {
  local stages=("$@") stage
  [ "${#stages[@]}" -gt 0 ] || stages=(tests sanitize kernels models)
  out=$(mkdir -p "${OUT:-build/gpu/out}" && cd "${OUT:-build/gpu/out}" && pwd) || return 1
  results="$out/results.md"
  failed=0
  unpack || { echo "no bundle: tests/gpu/run.sh bundle makes it" >&2; return 1; }
  cd "$work/bundle" || return 1
  describe | tee -a "$results"
  cp resources.txt "$out/"
  for stage in "${stages[@]}"; do
    case "$stage" in
      tests | sanitize | kernels | models) "$stage" ;;
      *) echo "no stage $stage" >&2; return 2 ;;
    esac
  done
  # The logs as one file: few come back from a lent machine.
  (cd "$out" && find . -type f ! -name results.md ! -name resources.txt ! -name logs.tgz -print0 |
    tar -czf logs.tgz --remove-files --null -T -)
  say results
  cat "$results"
  return "$failed"
}

case "${1:-}" in
  bundle) shift && bundle "$@" ;;
  run) shift && run "$@" ;;
  *)
    sed -n '2,/^set -uo/p' "${BASH_SOURCE[0]}" | sed '$d; s/^# \{0,1\}//' >&2
    exit 2
    ;;
esac
