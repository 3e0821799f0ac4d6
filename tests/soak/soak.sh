#!/usr/bin/env bash
# The long tests, outside CI (`make soak`). Usage: soak.sh [kills|crash|schedule|asan|tsan|life|fuzz]...
#
# Without arguments all of them, in two lanes on a machine with two cores: the server's on one, the
# fuzzers on the other. Lengths come from the environment, with these defaults:
#   SOAK_KILLS=1000  SOAK_SECONDS=600 (asan and tsan, each)  SOAK_LIFE_SECONDS=1200
#   SOAK_FUZZ_SECONDS=600 (each target)  SOAK_FUZZ_LANES=1 (targets at a time)
#   SOAK_CRASH_SEEDS=200  SOAK_SCHEDULE_SEEDS=300 (random runs of the scheduler's simulator)
#   SOAK_SEED=1  JOBS=2
# Ends with a table, also in build/soak/table.md; a part that was not asked for keeps the row of its
# last run. Exit code 1 when anything failed; logs, stores of
# failed runs, and inputs that broke a fuzz target are kept in build/soak.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2

KILLS=${SOAK_KILLS:-1000}
SECONDS_EACH=${SOAK_SECONDS:-600}
LIFE=${SOAK_LIFE_SECONDS:-1200}
FUZZ=${SOAK_FUZZ_SECONDS:-600}
FUZZ_LANES=${SOAK_FUZZ_LANES:-1}
CRASH_SEEDS=${SOAK_CRASH_SEEDS:-200}
SCHEDULE_SEEDS=${SOAK_SCHEDULE_SEEDS:-300}
CRASH_TESTS='store_crash_test store_crash_model_test failing_writes_test server_crash_test'
SEED=${SOAK_SEED:-1}
JOBS=${JOBS:-$(nproc)}
PHASES=("$@")
[ ${#PHASES[@]} -gt 0 ] || PHASES=(kills crash schedule asan tsan life fuzz)
OUT=$PWD/build/soak
mkdir -p "$OUT/rows" "$OUT/broken" "$OUT/corpus"

wanted() {
  local phase
  for phase in "${PHASES[@]}"; do [ "$phase" = "$1" ] && return 0; done
  return 1
}

for phase in "${PHASES[@]}"; do
  case $phase in
    kills | crash | schedule | asan | tsan | life | fuzz) ;;
    *) echo "soak.sh: no phase $phase (kills, crash, schedule, asan, tsan, life, fuzz)" >&2; exit 2 ;;
  esac
done

# Its rows, as names or a pattern.
rows_of() {
  case $1 in
    crash) echo "$CRASH_TESTS" ;;
    fuzz) echo '*_fuzz' ;;
    *) echo "$1" ;;
  esac
}
for phase in "${PHASES[@]}"; do
  # shellcheck disable=SC2046
  (cd "$OUT/rows" && rm -f $(rows_of "$phase") ".failed-$phase")
done

# build PRESET TARGET...
build() {
  local preset=$1
  shift
  [ -f "build/$preset/build.ninja" ] || cmake --preset "$preset" > "$OUT/configure-$preset.log" || exit 1
  cmake --build --preset "$preset" -j "$JOBS" --target "$@" || exit 1
}

# run PHASE PART COMMAND...: into PART.log; its row is what the last line of the log says, or its tail.
run() {
  local phase=$1 part=$2 begun=$SECONDS code=0 counts
  shift 2
  echo "soak: $part begins" >&2
  "$@" > "$OUT/$part.log" 2>&1 || code=$?
  counts=$(counts_of "$part")
  row "$part" "$*" "$counts" "$((SECONDS - begun))" "$code"
  [ "$code" -eq 0 ] || echo "$part" >> "$OUT/rows/.failed-$phase"
}

# row PART COMMAND COUNTS SECONDS EXIT_CODE
row() {
  local result=passed
  [ "$5" -eq 0 ] || result="**failed** (exit code $5), build/soak/$1.log"
  echo "| $1 | \`${2//$PWD\//}\` | $3 | $4 s | $result |" > "$OUT/rows/$1"
  echo "soak: $1: $result, $3, $4 s" >&2
}

counts_of() {
  local log="$OUT/$1.log" executed tests
  if executed=$(grep -a 'stat::number_of_executed_units' "$log"); then
    echo "$(echo "$executed" | awk '{print $2}') executions"
  elif grep -aq '_soak: ' "$log"; then
    grep -a '_soak: ' "$log" | tail -1 | sed 's/^[a-z_]*: //'
  elif tests=$(grep -a '^\[  PASSED  \]' "$log"); then
    echo "$tests" | tail -1 | sed 's/^.*PASSED  \] //'
    grep -a '^\[  FAILED  \] .*(.* ms)$' "$log" | sed 's/^.*FAILED  \] /failed: /; s/, where.*//; s/ (.*//'
    grep -a '^crash counts: ' "$log" | tail -1
  else
    tail -1 "$log" | tr '|' '/' | cut -c1-200
  fi | paste -sd' '
}

server_lane() {
  wanted kills && run kills kills build/release/bin/kill_soak --kills "$KILLS" --seed "$SEED"
  if wanted crash; then
    local test
    for test in $CRASH_TESTS; do
      run crash "$test" env LONGLEAF_CRASH_ALL=1 LONGLEAF_CRASH_SEEDS="$CRASH_SEEDS" \
        "build/release/bin/$test"
    done
  fi
  wanted schedule && run schedule schedule env LONGLEAF_SIMULATION_SEEDS="$SCHEDULE_SEEDS" \
    build/release/bin/schedule_simulation_test
  wanted asan && LSAN_OPTIONS="suppressions=$PWD/tests/lsan_suppressions.txt" \
    run asan asan build/asan/bin/client_soak --seconds "$SECONDS_EACH" --seed "$SEED" --restarts
  if wanted tsan; then
    TSAN_OPTIONS="suppressions=$PWD/tests/tsan_suppressions.txt" \
      run tsan tsan build/tsan/bin/client_soak --seconds "$SECONDS_EACH" --seed "$SEED" --restarts
  fi
  wanted life && run life life build/release/bin/client_soak --daemon --seconds "$LIFE" --seed "$SEED"
  return 0
}

# Every fuzz target from a copy of its seeds; what it finds new stays there for the next time.
# fuzz_lane N: every FUZZ_LANES-th target, from the N-th.
fuzz_lane() {
  local name program corpus i=0
  while read -r name program corpus; do
    [ $((i++ % FUZZ_LANES)) -eq "$1" ] || continue
    mkdir -p "$OUT/corpus/$name"
    [ -d "$corpus" ] && cp -rn "$corpus/." "$OUT/corpus/$name/"
    run fuzz "$name" "$program" -max_total_time="$FUZZ" -timeout=60 -rss_limit_mb=4096 \
      -print_final_stats=1 -artifact_prefix="$OUT/broken/$name-" "$OUT/corpus/$name"
  done < <(fuzz_targets)
}

# "name program corpus" of each, as ctest knows them.
fuzz_targets() {
  ctest --test-dir build/fuzz -L fuzz --show-only=json-v1 | python3 -c '
import json, sys
for test in json.load(sys.stdin)["tests"]:
    command = test.get("command")
    if command:
        print(test["name"], command[0], command[-1])'
}

wanted kills && build release kill_soak longleafd longleaf-eval
wanted crash && build release tests-crash
wanted schedule && build release schedule_simulation_test
wanted life && build release client_soak longleafd
wanted asan && build asan client_soak
wanted tsan && build tsan client_soak
wanted fuzz && build fuzz tests-fuzz

if wanted fuzz; then
  for ((lane = 0; lane < FUZZ_LANES; ++lane)); do fuzz_lane "$lane" & done
fi
server_lane
wait

{
  echo '| part | command | counts | duration | result |'
  echo '|---|---|---|---|---|'
  for phase in kills crash schedule asan tsan life fuzz; do
    # shellcheck disable=SC2046
    (cd "$OUT/rows" && cat $(rows_of "$phase") 2> /dev/null)
  done
} > "$OUT/table.md"
cat "$OUT/table.md"
for phase in "${PHASES[@]}"; do
  [ ! -e "$OUT/rows/.failed-$phase" ] || exit 1
done
