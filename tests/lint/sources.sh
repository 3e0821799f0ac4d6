# shellcheck shell=bash
# Sourced by the checks beside it: which files are ours.

# Prints the C++ files below the given folders, tracked or not yet, but never ignored ones.
cpp_sources() {
  git ls-files --cached --others --exclude-standard -- "$@" | grep -E '\.(h|cc|cu|cuh)$' |
    while read -r file; do [ -f "$file" ] && printf '%s\n' "$file"; done | sort -u
}
