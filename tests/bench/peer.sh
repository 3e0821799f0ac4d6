#!/usr/bin/env bash
# llama.cpp beside our engine: the same random weights at the same number of bits, on the same
# machine, in turns; ends with the tables of issue 5.
#
#   tests/bench/peer.sh BIN [FLAGS OF peer_run.py]      BIN holds longleaf-eval
#
# The peer is compiled for this processor from the source package of llama-cpp-python (about six
# minutes on two cores) into build/bench/peer-venv; nothing of it enters the project. Where that is
# not possible (no network, no compiler), the script says so and exits with 0 without measuring.
# Before anything is timed, the logits of both are compared (peer_check.py).
#
# peer_run.py's flags choose the plan, e.g. --shapes 160m --lengths 2048,8192 --bits 8 --rounds 1.
# Random models are made on the first run into build/bench/peer-models: 3.5 GB without 7B, which
# takes 21 GB and goes again with --delete. Run it on a machine that does nothing else: the peer's
# threads wait for each other actively, and one busy processor beside them slows it many times
# over.
#
# Exit status: 0 measured or skipped; 1 the two do not compute the same; else what failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# The version is pinned: peer_state.py knows its state file.
peer_packages=(llama-cpp-python==0.3.36 gguf==0.19.0 numpy)
peer_build='-DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DGGML_LLAMAFILE=ON -DGGML_CPU_REPACK=ON
  -DGGML_OPENMP=ON -DLLAVA_BUILD=OFF'

if [[ $# -lt 1 || ! -x $1/longleaf-eval ]]; then
  echo "usage: tests/bench/peer.sh BIN [FLAGS OF peer_run.py]   (BIN: build/release/bin)" >&2
  exit 2
fi
eval=$1/longleaf-eval
shift
venv=build/bench/peer-venv
out=build/bench/peer
mkdir -p "$out"

install_peer() {
  local log=$out/install.log
  echo "peer.sh: compiling llama.cpp; see $log" >&2
  python3 -m venv "$venv" >"$log" 2>&1 &&
    CMAKE_ARGS=${peer_build//$'\n'/ } CMAKE_BUILD_PARALLEL_LEVEL=$(nproc) nice \
      "$venv/bin/pip" install --no-binary llama-cpp-python "${peer_packages[@]}" >>"$log" 2>&1
}

installed() {
  "$venv/bin/python" -c 'import gguf, llama_cpp as peer; assert peer.__version__ == "0.3.36"' 2>/dev/null
}

if ! installed && ! { install_peer && installed; }; then
  echo "peer.sh: skipped: llama.cpp could not be installed; see $out/install.log" >&2
  exit 0
fi

"$venv/bin/python" tests/bench/peer_check.py "$eval" model/demo "$out/check"
read -r load _ </proc/loadavg
printf 'load average before: %s on %s processors\n' "$load" "$(nproc)"
"$venv/bin/python" tests/bench/peer_run.py "$eval" --out "$out" "$@"
read -r load _ </proc/loadavg
printf 'load average after: %s\n\n' "$load"
"$venv/bin/python" tests/bench/peer_table.py "$out" | tee "$out/table.md"
