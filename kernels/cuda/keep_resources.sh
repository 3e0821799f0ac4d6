#!/usr/bin/env bash
# Runs a compiler command ending in nvcc's arguments; what ptxas -v says of the kernels goes to
# OBJECT.ptxas instead of the screen, everything else where it went before.
set -uo pipefail
object=
for ((i = 1; i < $#; i++)); do
  if [ "${!i}" = -o ]; then
    next=$((i + 1))
    object=${!next}
  fi
done
[ -n "$object" ] || exec "$@"

# Of warnings and errors the rest of the line follows on later lines, which no pattern knows: so ours
# are taken out, not theirs chosen.
resources='^ptxas info|^    [0-9]+ bytes (stack frame|gmem)|^    Function properties for|^[0-9]+ bytes'
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
"$@" 2>"$log"
status=$?
grep -vE "$resources" "$log" >&2
if [ "$status" -eq 0 ]; then
  grep -E "$resources" "$log" >"$object.ptxas" || :
fi
exit "$status"
