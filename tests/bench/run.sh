#!/usr/bin/env bash
# Measures this machine the way tests/bench/RESULTS.md does, and prints the tables that stand there.
#
#   tests/bench/run.sh BIN [all|demo|tinyllama]      BIN holds longleaf-eval, e.g. build/release/bin
#
# The 1.1B shape has random weights, made on the first run into build/bench (2.2 GB); its figures
# take about twenty minutes on two cores. Run it on a machine that does nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bin=${1:?usage: tests/bench/run.sh BIN [all|demo|tinyllama]}
what=${2:-all}
eval="$bin/longleaf-eval"
work=build/bench
mkdir -p "$work"

# Prints a command as one would type it, then runs it.
run() {
  printf '\n$ %s\n' "$*"
  "$@"
}

read -r load _ </proc/loadavg
printf 'load average before the first run: %s on %s processors\n' "$load" "$(nproc)"

if [[ $what == all || $what == demo ]]; then
  # As it was trained, beside full attention in speed and beside its window alone in what it finds.
  window=$(sed -n 's/.*"window": *\([0-9]*\).*/\1/p' model/demo/config.json)
  run "$eval" bench --model model/demo --length 4096,16000 --store "$work"
  run "$eval" bench --model model/demo --length 4096,16000 --attention full --store "$work"
  run "$eval" needle --model model/demo --lengths 1024,4096,16384
  run "$eval" needle --model model/demo --lengths 1024,4096,16384 \
    --attention "streaming:sinks=0,w=$window"
fi

if [[ $what == all || $what == tinyllama ]]; then
  model=$work/tinyllama-1.1b
  [[ -f $model/config.json ]] || run "$eval" random-model --shape tinyllama-1.1b --out "$model"
  run "$eval" bench --model "$model" --length 2048,4096,16384,32768 \
    --attention cca:g=16,w=1024,heads=kv --store "$work"
  run "$eval" bench --model "$model" --length 2048,4096,16384 --attention full --store "$work"
fi
