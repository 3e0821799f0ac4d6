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

readonly ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly MODEL=$ROOT/model/demo
readonly SHOWN_BIN=${1:-}   # as the visitor would type it
readonly START_SECONDS=30   # longest wait for a server to be ready, or to be gone
readonly RIGHT='✓' WRONG='✗'

if [ $# -ne 1 ] || [ ! -x "$1/longleafd" ] || [ ! -x "$1/longleaf" ]; then
  echo "usage: $0 BIN_DIR   (the folder of longleafd and longleaf; make build makes them)" >&2
  exit 2
fi
readonly BIN=$(cd "$1" && pwd)

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

die() {
  printf '\n%sThe demonstration failed: %s%s\n' "$red" "$*" "$plain" >&2
  if [ -n "$work" ] && [ -s "$work/log" ]; then
    printf 'The last lines of the server:\n' >&2
    tail -n 8 "$work/log" >&2
  fi
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

# milliseconds SECONDS: SECONDS as JSON has it, 0.0021 or 2.1e-03
milliseconds() {
  local mantissa=${1%%[eE]*} exponent=0
  [[ $1 != *[eE]* ]] || exponent=${1##*[eE]}
  printf '%.1f ms' "${mantissa}e$((10#${exponent#[-+]} * (${exponent:0:1} == 1 ? 1 : 1) + 3))"
}
