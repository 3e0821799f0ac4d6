#!/usr/bin/env bash
# Installs what a bare Debian 12 needs to build Longleaf:
#
#   deploy/deps/install.sh [build|test]
#
# `build` (the default) is enough for make build and make demo; `test` adds the linters and the
# sanitizers' run-time. Packages come from whatever apt sources the machine already has; its apt
# configuration is not touched. Only sentencepiece is compiled, from Debian's source package
# (sentencepiece.sh says why), into build/deps. Repeating it costs a fraction of a second.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
say() { printf 'deps: %s\n' "$*" >&2; }

case "${1:-build}" in
  build) sets='build' ;;
  test) sets='build|test' ;;
  *) say "usage: $0 [build|test]"; exit 2 ;;
esac
mapfile -t wanted < <(awk -v sets="^($sets)\$" '$1 ~ sets {print $2}' "$here/packages.txt")

# dpkg prints one status line for each package it knows, with or without an architecture suffix.
missing_packages() {
  local installed
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null |
    awk '$1 == "installed" {print $2}' || true)
  comm -23 <(printf '%s\n' "${wanted[@]}" | sort) <(sort <<<"$installed")
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    env DEBIAN_FRONTEND=noninteractive "$@"
  else
    sudo env DEBIAN_FRONTEND=noninteractive "$@"
  fi
}

mapfile -t missing < <(missing_packages)
if [ "${#missing[@]}" -gt 0 ]; then
  if ! command -v apt-get >/dev/null || ! grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release; then
    say "this script knows Debian 12 (bookworm) only; install by hand: ${missing[*]}"
    exit 1
  fi
  if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
    say "needs root: run  apt-get install --no-install-recommends ${missing[*]}"
    exit 1
  fi
  say "installing ${#missing[@]} packages: ${missing[*]}"
  # A source of the user's that is out of reach must not stop us: the install says what it lacks.
  as_root apt-get update -q || say "apt-get update reported errors; going on"
  as_root apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

"$here/sentencepiece.sh" "$root/build/deps"
