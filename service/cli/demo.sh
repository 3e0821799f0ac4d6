#!/usr/bin/env bash
# The demonstration behind `make demo`: one long document uploaded once, read once, asked many
# times; then a restart, after which nothing is read again.
#
#   service/cli/demo.sh BIN_DIR       BIN_DIR holds longleafd and longleaf
#
# Only bash and the two programs. Everything it writes lies in one temporary folder that is removed
# on every exit. Exit status: 0, also when the model answers wrongly; 1 when something is broken;
# 2 wrong usage; 130 or 143 when interrupted.
set -u

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd) || exit 1
readonly ROOT
readonly MODEL=$ROOT/model/demo
readonly START_SECONDS=30  # longest wait for a server to be ready, or to be gone
readonly RIGHT='✓' WRONG='✗'

if [ $# -ne 1 ] || [ ! -x "$1/longleafd" ] || [ ! -x "$1/longleaf" ]; then
  echo "usage: $0 BIN_DIR   (the folder of longleafd and longleaf; make build makes them)" >&2
  exit 2
fi
BIN=$(cd "$1" && pwd) || exit 1
readonly BIN

# Lengths in characters where the system knows UTF-8, and a point in numbers everywhere.
{ LC_ALL=C.UTF-8; } 2>/dev/null
unset LONGLEAF_SERVER LONGLEAF_CONFIG  # what is shown must not depend on the visitor's own server

bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi

# --- The server's life ------------------------------------------------------------------------

work=''        # the temporary folder
server_pid=''  # empty while no server runs
metrics_address=''

cleanup() {
  trap '' INT TERM HUP
  if [ -n "$server_pid" ]; then
    kill -KILL "$server_pid" 2>/dev/null
    wait "$server_pid" 2>/dev/null
  fi
  [ -z "$work" ] || rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'exit 1' USR1  # from die in a command substitution

die() {
  printf '\n%sThe demonstration failed: %s%s\n' "$red" "$*" "$plain" >&2
  if [ -n "$work" ] && [ -s "$work/log" ]; then
    printf 'The last lines of the server:\n' >&2
    tail -n 8 "$work/log" >&2
  fi
  [ "$BASHPID" = $$ ] || kill -USR1 $$
  exit 1
}

# The server's standard output is a pipe: its first line says that it is ready, its end that the
# process is gone. Neither needs polling.
start_server() {
  local line
  rm -f "$work/out"
  mkfifo "$work/out" || die "cannot make a pipe in $work"
  "$BIN/longleafd" --model "$MODEL" --store "$work/store" --listen 127.0.0.1:0 \
    --metrics-listen 127.0.0.1:0 --drain-seconds 5 >"$work/out" 2>>"$work/log" &
  server_pid=$!
  exec 3<"$work/out"
  read -r -t "$START_SECONDS" line <&3 || die "longleafd was not ready in $START_SECONDS seconds"
  [[ $line =~ ^longleafd\ ready\ listen=([^ ]+)\ metrics=([^ ]+)$ ]] ||
    die "longleafd said '$line'"
  export LONGLEAF_SERVER=${BASH_REMATCH[1]}
  metrics_address=${BASH_REMATCH[2]}
}

stop_server() {
  local status rest
  kill -TERM "$server_pid" || die "longleafd is gone already"
  read -r -t "$START_SECONDS" rest <&3
  [ $? -le 128 ] || die "longleafd did not stop in $START_SECONDS seconds"
  wait "$server_pid"
  status=$?
  server_pid=''
  [ "$status" -eq 0 ] || die "longleafd ended with status $status"
}

# --- Text and numbers -------------------------------------------------------------------------

heading() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
command_line() { printf '  %s$ %s%s\n' "$dim" "$*" "$plain"; }

# with_commas 13760: 13,760
with_commas() {
  local n=$1 out=''
  while [ ${#n} -gt 3 ]; do
    out=,${n: -3}$out
    n=${n:0:${#n}-3}
  done
  printf '%s' "$n$out"
}

# megabytes BYTES: with one digit, rounded
megabytes() {
  local tenths=$((($1 + 50000) / 100000))
  printf '%d.%d MB' $((tenths / 10)) $((tenths % 10))
}

# millions 2215104: 2.2 million
millions() {
  local tenths=$((($1 + 50000) / 100000))
  printf '%d.%d million' $((tenths / 10)) $((tenths % 10))
}

# milliseconds SECONDS: SECONDS as JSON has it, 0.0021 or 2.1e-03
milliseconds() {
  local mantissa=${1%%[eE]*} exponent=0
  [[ $1 != *[eE]* ]] || exponent=${1##*[eE]}
  [ "${exponent:0:1}" != - ] || exponent=-$((10#${exponent:1}))
  printf '%.1f ms' "${mantissa}e$((exponent + 3))"
}

# field NAME JSON: the value of a number or word, of one of the client's one-line objects
field() {
  local pattern="[{,]\"$1\":\"?([^,\"}]*)"
  [[ $2 =~ $pattern ]] || die "the client's output has no $1: $2"
  printf '%s' "${BASH_REMATCH[1]}"
}

# text_field NAME JSON: the value of any string, on one line, without control characters
text_field() {
  local pattern="[{,]\"$1\":\"(([^\"\\\\]|\\\\.)*)\"" value
  [[ $2 =~ $pattern ]] || die "the client's output has no $1: $2"
  value=${BASH_REMATCH[1]}
  value=${value//\\[nrt]/ }
  value=${value//\\u[0-9a-f][0-9a-f][0-9a-f][0-9a-f]/?}
  printf '%b' "$value"
}

# metric NAME: its value as a whole number, from $scrape; NAME with its labels
metric() {
  local line
  while read -r line; do
    if [ "${line% *}" = "$1" ]; then
      printf '%.0f' "${line##* }"
      return
    fi
  done <<<"$scrape"
  die "no metric $1"
}

# --- Asking -----------------------------------------------------------------------------------

facts=0 facts_right=0 others=0 others_right=0
declare -A first_answer  # by question

# ask DEPTH QUESTION EXPECTED: asks, prints, and leaves the client's line in $reply, $answer
ask() {
  local depth=$1 question=$2 expected=$3 mark right=1 note=''
  [ "$depth" != - ] || depth=''
  printf ' %s%5s%s  %s\n' "$dim" "$depth" "$plain" "$question"
  reply=$("$BIN/longleaf" --json ask river-book "$question" </dev/null) || die "no answer"
  answer=$(text_field text "$reply")
  mark=$green$RIGHT$plain
  if [ "$answer" != "$expected" ]; then
    right=0
    mark=$red$WRONG$plain
    note="(right: $expected)"
    [ "$expected" != 'not stated' ] || note='(the document does not say)'
  fi
  if [ -n "$depth" ]; then
    facts=$((facts + 1)) facts_right=$((facts_right + right))
  else
    others=$((others + 1)) others_right=$((others_right + right))
  fi
  local shown=$answer gap
  [ -z "$note" ] || shown+="  $note"
  [ ${#shown} -le 44 ] || shown=${shown:0:41}...
  printf -v gap '%*s' $((45 - ${#shown})) ''
  printf '        %s %s%s%s%-7s %9s%9s%8s%s\n' "$mark" "$shown" "$gap" "$dim" \
    "$(field state_tier "$reply")" "$(milliseconds "$(field ttft_seconds "$reply")")" \
    "$(with_commas "$(field tokens_reused "$reply")")" \
    "$(with_commas "$(field tokens_prefilled "$reply")")" "$plain"
}

table_head() {
  printf ' %s%5s  %-47s%-7s %9s%9s%8s%s\n' "$dim" depth 'question, answer' 'state' '1st token' \
    reused read "$plain"
}

# client COMMAND...: as a visitor would see it. Its progress bars go to standard error, for which
# a terminal on standard output is the better guide: `make demo | less` shall have their text too.
client() {
  local word shown=longleaf
  for word in "$@"; do
    case $word in *' '*) shown+=" \"$word\"" ;; *) shown+=" $word" ;; esac
  done
  command_line "$shown"
  if [ -t 1 ]; then
    "$BIN/longleaf" "$@"
  else
    "$BIN/longleaf" "$@" 2>&1
  fi || die "longleaf $1 ended with status $?"
}

# --- The demonstration ------------------------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/longleaf-demo.XXXXXX") || die "cannot make a temporary folder"
SECONDS=0

printf '%sLongleaf: a document uploaded once, read once, asked many times%s\n' "$bold" "$plain"

heading '1. A server, with its built-in model and an empty store'
command_line 'longleafd --model model/demo --store STORE'
start_server
model=$("$BIN/longleaf" --json model) || die "longleaf model failed"
attention=$(text_field attention "$model")
window=${attention#*w=} window=${window%%,*}
group=${attention#*g=} group=${group%%,*}
parameters="$(millions "$(field parameters "$model")") parameters"
printf '  ready at %s: %s, %s,\n  %s, context %s tokens\n' "$LONGLEAF_SERVER" "$parameters" "$attention" \
  "$(text_field device "$model")" "$(with_commas "$(field context_length "$model")")"

heading '2. A document: "The River Book", a surveyor'"'"'s book of a valley'
cd "$ROOT" || die "cannot enter $ROOT"
client upload model/demo/document.txt --id river-book --name 'The River Book' --wait
document=$("$BIN/longleaf" --json show river-book) || die "longleaf show failed"
tokens=$(field token_count "$document")
per_token=$(field state_bytes_per_token "$model")
full_per_token=$(field full_cache_bytes_per_token "$model")
state=$(($(field state_bytes_fixed "$model") + tokens * ${per_token%.*}))
full=$((tokens * ${full_per_token%.*}))
printf '  Kept: %s of state. A full cache of all keys and values would be %s.\n' \
  "$(megabytes "$state")" "$(megabytes "$full")"

heading '3. Questions, whose answers lie at these depths of the document'
printf '  The model sees the last %d to %d of %s tokens as they are. Everything before, and so every\n' \
  "$window" $((window + group - 1)) "$(with_commas "$tokens")"
printf '  fact asked for here, is left as core tokens only, one for %d.\n' "$group"
declare -a depths questions answers
while IFS=$'\t' read -r depth question expected; do
  depths+=("$depth") questions+=("$question") answers+=("${expected# }")
done <"$MODEL/questions.tsv"
[ ${#questions[@]} -gt 0 ] || die "$MODEL/questions.tsv is empty"
table_head
for i in "${!questions[@]}"; do
  ask "${depths[i]}" "${questions[i]}" "${answers[i]}"
  first_answer[${questions[i]}]=$answer
done
printf '\n  %s%d of %d facts right; %d of %d times it noticed that the document does not say.%s\n' \
  "$bold" "$facts_right" "$facts" "$others_right" "$others" "$plain"
printf '  The model has %s: enough to show that core tokens hold what was read,\n' "$parameters"
printf '  and good for nothing else. For answers to rely on, serve a real checkpoint (README.md).\n'

heading '4. The server stops (SIGTERM), starts again on the same store, and is asked again'
stop_server
start_server
tier=disk
table_head
for i in 0 4 7 14; do
  [ "$i" -lt ${#questions[@]} ] || continue
  ask "${depths[i]}" "${questions[i]}" "${answers[i]}"
  [ "$answer" = "${first_answer[${questions[i]}]}" ] ||
    die "the answer was '${first_answer[${questions[i]}]}' before the restart"
  [ "$(field state_tier "$reply")" = "$tier" ] || die "the state did not come from $tier"
  [ "$(field tokens_prefilled "$reply")" = "$(field question_tokens "$reply")" ] ||
    die "more was read than the question"
  tier=memory  # from the second question on
done
printf '  The same answers. The first question took the state from disk; only questions were read.\n'

heading "5. What the server counted since then (http://$metrics_address/metrics)"
exec 4<>"/dev/tcp/${metrics_address%:*}/${metrics_address##*:}" || die "no metrics"
printf 'GET /metrics HTTP/1.0\r\n\r\n' >&4
scrape=$(cat <&4)
exec 4>&-
for name in longleaf_document_tokens_total longleaf_reused_tokens_total \
  longleaf_question_tokens_total longleaf_generated_tokens_total \
  'longleaf_state_lookups_total{result="hit",tier="disk"}' \
  'longleaf_state_lookups_total{result="hit",tier="memory"}' \
  'longleaf_state_bytes{tier="disk"}' 'longleaf_state_bytes{tier="memory"}'; do
  value=$(metric "$name")
  printf '  %-60s %12s\n' "$name" "$(with_commas "$value")"
  [ "$name" != longleaf_document_tokens_total ] || [ "$value" = 0 ] ||
    die "the document was read again"
done

stop_server
heading "Done in $SECONDS seconds. Now yourself:"
printf '  %s\n' \
  "PATH=$BIN:\$PATH" \
  'longleafd --model model/demo --store my-store &' \
  'longleaf upload model/demo/document.txt --id river --wait' \
  'longleaf ask river "What is the weight of the Wuttock boiler?" --evidence 3' \
  'longleaf ask river                     # a prompt for one question after another' \
  'longleaf upload FILE --wait            # a text of your own' \
  'longleaf list                          # also: show, watch, text, update, delete, model' \
  'curl -s localhost:7071/metrics         # for Prometheus' \
  'kill %1                                # what was read stays in my-store' \
  'README.md tells of real checkpoints, the API and all options.'
