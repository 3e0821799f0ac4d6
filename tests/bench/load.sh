#!/usr/bin/env bash
# What a server gives when many ask: starts longleafd on free ports, runs longleaf-bench's modes
# against it, and prints the goals beside the figures.
#
#   tests/bench/load.sh BIN [demo|1.1b]      BIN holds longleafd, longleaf-bench and longleaf-eval
#
#   demo   the built-in model, as it is served. Documents of 32,000 tokens, or as many as its context
#          holds beside questions and answers. Some minutes.
#   1.1b   a 1.1B shape with random weights, made on the first run into build/bench (2.2 GB), with
#          CCA, documents of 32,000 tokens. Eighteen or so have to be read: about an hour and a half
#          on two cores.
#
# The environment can change the plan: TOKENS (of a document), BATCH (16), CLIENTS (1,4,16),
# DURATION (of each measurement), OUT (the folder for tables, JSON and SVG). Client and server share
# the machine; run it on one that does nothing else.
#
# Exit status: 0 measured, whether or not a goal is reached; else what failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ $# -lt 1 || $# -gt 2 || ! -x $1/longleafd || ! -x $1/longleaf-bench || ! -x $1/longleaf-eval ]]; then
  echo "usage: tests/bench/load.sh BIN [demo|1.1b]   (BIN: build/release/bin after make build)" >&2
  exit 2
fi
bin=$(cd "$1" && pwd)
what=${2:-demo}
batch=${BATCH:-16}
question_tokens=16
case $what in
  demo)
    model=model/demo attention=()
    context=$(sed -n 's/.*"max_position_embeddings": *\([0-9]*\).*/\1/p' "$model/config.json")
    most=$((context - 1384))
    tokens=${TOKENS:-$((most < 32000 ? most : 32000))} duration=${DURATION:-8s} warmup=1s clients=${CLIENTS:-1,4,16,64}
    # Left alone, this model answers in a few tokens.
    temperature=100 answer_tokens=64 long_answer_tokens=256 prefills=4 rounds=3
    ;;
  1.1b)
    model=build/bench/tinyllama-1.1b attention=(--attention cca:g=16,w=1024,heads=kv)
    tokens=${TOKENS:-32000} duration=${DURATION:-60s} warmup=20s clients=${CLIENTS:-1,4,16}
    temperature=0 answer_tokens=64 long_answer_tokens=64 prefills=1 rounds=1
    ;;
  *)
    echo "load.sh: '$what' is neither demo nor 1.1b" >&2
    exit 2
    ;;
esac
out=${OUT:-build/bench/load-$what}
mkdir -p "$out"
unset LONGLEAF_SERVER LONGLEAF_CONFIG

# ---- The server --------------------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/var/tmp}/longleaf-load-XXXXXX") # /var/tmp: on a disk, unlike many a /tmp
server=''
metrics=''
cleanup() {
  trap '' INT TERM
  [[ -z $server ]] || { kill -KILL "$server" && wait "$server"; } 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Its standard output is a pipe: the first line says that it is ready, the end that it is gone.
start_server() {
  local line
  rm -f "$work/out"
  mkfifo "$work/out"
  "$bin/longleafd" --model "$model" "${attention[@]}" --store "$work/store" \
    --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --max-questions 1024 \
    --max-question-seconds 3600 >"$work/out" 2>>"$out/server.log" &
  server=$!
  exec 3<"$work/out"
  if ! read -r -t 600 line <&3 || ! [[ $line =~ ^longleafd\ ready\ listen=([^ ]+)\ metrics=([^ ]+)$ ]]; then
    echo "load.sh: longleafd is not ready; see $out/server.log" >&2
    exit 1
  fi
  export LONGLEAF_SERVER=${BASH_REMATCH[1]}
  metrics=${BASH_REMATCH[2]}
}

stop_server() {
  kill -TERM "$server"
  wait "$server"
  server=''
  exec 3<&-
}

# What the store holds has to come from the disk.
drop_page_cache() {
  sync "$work/store"
  find "$work/store" -type f -exec dd if={} iflag=nocache count=0 status=none \;
}

# ---- The measurements --------------------------------------------------------------------------

# bench NAME ARGUMENTS...: one run, its table on the screen and in OUT, its report in OUT/NAME.json.
bench() {
  local name=$1
  shift
  printf '\n$ longleaf-bench %s\n' "$*"
  "$bin/longleaf-bench" --metrics "$metrics" --json "$out/$name.json" "$@" | tee "$out/$name.txt"
}

# value NAME PATH: of OUT/NAME.json, e.g. value cold results.0.document
value() {
  python3 - "$out/$1.json" "$2" <<'PYTHON'
import json, sys
at = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    at = at[int(key)] if isinstance(at, list) else at[key]
print(at)
PYTHON
}

if [[ ! -f $model/config.json ]]; then
  "$bin/longleaf-eval" random-model --shape tinyllama-1.1b --out "$model"
fi
rm -f "$out"/*.json "$out"/*.txt "$out"/*.svg "$out/server.log"
read -r load _ </proc/loadavg
printf 'load average before: %s on %s processors\n' "$load" "$(nproc)"
questions=(--question-tokens "$question_tokens" --temperature "$temperature" --count-tokens)
length=(--duration "$duration" --warmup "$warmup")

start_server
bench prefill cold --keep --document-tokens "$tokens" --answer-tokens "$answer_tokens" "${questions[@]}"
document=$(value prefill results.0.document)
stop_server
drop_page_cache
start_server
bench cold cold --existing "$document" --prefill-seconds "$(value prefill results.0.prefill_seconds)" \
  --answer-tokens "$answer_tokens" "${questions[@]}"

bench closed closed --plot "$out/closed.svg" --clients "$clients" --document "$document" \
  --answer-tokens "$answer_tokens" "${questions[@]}" "${length[@]}"
# A quarter, a half and nine tenths of what sixteen clients or so were answered.
rates=$(python3 - "$out/closed.json" <<'PYTHON'
import json, sys
most = max(row["answers_per_second"] for row in json.load(open(sys.argv[1]))["results"])
print(",".join(f"{share * most:.3g}" for share in (0.25, 0.5, 0.9)))
PYTHON
)
bench open open --plot "$out/open.svg" --rate "$rates" --document "$document" \
  --answer-tokens "$answer_tokens" "${questions[@]}" "${length[@]}"
bench interference interference --readers 4 --prefill-tokens "$tokens" --prefills "$prefills" \
  --document "$document" --answer-tokens "$answer_tokens" "${questions[@]}" "${length[@]}"
bench batching batching --batch "$batch" --document-tokens "$tokens" \
  --answer-tokens "$answer_tokens" "${questions[@]}" "${length[@]}"

# The same batch with server and network and without, in turns, since a machine is not equally fast
# at all times: without, questions as long as they were with the prompt around them, answers as long
# as they came. Meanwhile the server waits.
for ((round = 1; round <= rounds; ++round)); do
  bench "served-$round" closed --clients "$batch" --document "$document" \
    --answer-tokens "$long_answer_tokens" "${questions[@]}" "${length[@]}"
  read -r asked answered < <(python3 - "$out/served-$round.json" <<'PYTHON'
import json, sys
row = json.load(open(sys.argv[1]))["results"][0]
print(round(row["question_tokens"] / row["answered"]), round(row["answer_tokens"] / row["answered"]))
PYTHON
)
  engine=("$bin/longleaf-eval" bench --model "$model" "${attention[@]}" --length "$tokens"
    --batch "$batch" --question-tokens "$asked" --decode-tokens "$answered"
    --temperature "$temperature" --store "$work" --json)
  printf '\n$ longleaf-eval %s\n' "${engine[*]:1}"
  "${engine[@]}" >"$out/engine-$round.json"
done
stop_server

python3 tests/bench/load_summary.py "$out" | tee "$out/summary.txt"
printf '\nreports, tables and plots: %s\n' "$out"
