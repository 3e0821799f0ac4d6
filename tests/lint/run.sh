#!/usr/bin/env bash
# All that `make lint` checks: tests/lint/run.sh BUILD_DIR. Runs every check even when one fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
build=${1:?usage: $0 BUILD_DIR}
failed=()
for check in layers format "tidy $build"; do
  read -r name arguments <<<"$check"
  # shellcheck disable=SC2086
  if "tests/lint/$name.sh" $arguments; then
    echo "lint: $name passed"
  else
    failed+=("$name")
    echo "lint: $name FAILED"
  fi
done
[ "${#failed[@]}" -eq 0 ]
