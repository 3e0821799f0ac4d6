#!/usr/bin/env bash
# Builds sentencepiece as a static library from Debian's source package:
#
#   deploy/deps/sentencepiece.sh DEPS_DIR
#
# The shared library of the binary package carries a protobuf 3.14 of its own, which aborts in a
# process that also loads the system's 3.21, as gRPC does. Built against the system's protobuf-lite
# it has no such quarrel. Result: DEPS_DIR/sentencepiece/{lib,include,copyright,VERSION}.
#
# The source package is fetched with a sources file, index and cache of this script's own, so the
# machine's apt configuration stays as it is and no root is needed.
set -euo pipefail

version=0.1.97-3
recipe=1 # raise it when the way of building below changes
mkdir -p "${1:?usage: $0 DEPS_DIR}"
deps=$(cd "$1" && pwd) # apt reads a relative path as one below /etc/apt
out=$deps/sentencepiece
stamp="$version recipe $recipe"
say() { printf 'deps: %s\n' "$*" >&2; }

exec 9>"$deps/.lock"
flock 9 # two makes at once: the second finds the work done
if [ "$(cat "$out/VERSION" 2>/dev/null)" = "$stamp" ]; then
  exit 0
fi

work=$deps/work
rm -rf "$work"
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/empty"
apt_private=(
  -o "Dir::Etc::SourceList=$work/sources.list"
  -o "Dir::Etc::SourceParts=$work/empty"
  -o "Dir::State::Lists=$work/lists"
  -o "Dir::Cache=$work/cache"
  -o "APT::Sandbox::User=$(id -un)"
  -o 'Acquire::Languages=none'
)

# The deb-src twin of every Debian source that the machine installs from, so that its mirror, proxy
# and keys are used; then Debian's own address, for mirrors that carry binary packages only.
default_source='deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm main'
index_targets() { # [apt options]: the package indexes that the machine has, as URI|suite|component
  apt-get "$@" indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)' \
    'Created-By: Packages' 2>/dev/null
}
derived_sources() {
  local targets own_lists=(-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache")
  targets=$(index_targets)
  if [ -z "$targets" ]; then # images often ship without indexes; look into a copy of our own
    apt-get "${own_lists[@]}" -q update >"$work/apt.log" 2>&1 || true
    targets=$(index_targets "${own_lists[@]}")
  fi
  # Debian's own keys, which apt trusts by itself, sign a mirror's index too.
  awk -F'|' '$2 ~ /^(bookworm|stable|oldstable)$/ && $3 == "main" {
    print "deb-src " $1 " " $2 " main"
  }' <<<"$targets" | sort -u
}
fetch_with() {
  [ -n "$1" ] || return 1
  printf '%s\n' "$1" >"$work/sources.list"
  apt-get "${apt_private[@]}" -q update >"$work/apt.log" 2>&1 &&
    (cd "$work" && apt-get "${apt_private[@]}" -q source --download-only \
      "sentencepiece=$version" >>apt.log 2>&1)
}

say "building sentencepiece $version from its Debian source package"
if ! fetch_with "$(derived_sources)" && ! fetch_with "$default_source"; then
  cat "$work/apt.log" >&2
  say "could not fetch the source package sentencepiece $version"
  exit 1
fi
# apt has checked the .dsc against the signed index, and dpkg-source checks the rest against it.
(cd "$work" && dpkg-source --no-check -x sentencepiece_*.dsc src >dpkg-source.log 2>&1) || {
  cat "$work/dpkg-source.log" >&2
  exit 1
}
# Debian drops the static library with a patch of its own; take that one back.
(cd "$work/src" && patch -s -R -p1 <debian/patches/disable-static-library.patch)
# One header names the bundled protobuf even when it is not to be used; without that copy there is no
# mixing the two.
rm -rf "$work/src/third_party/protobuf-lite"
sed -i 's|"third_party/protobuf-lite/google/|"google/|' "$work"/src/src/*.h "$work"/src/src/*.cc

build_log=$work/build.log
if ! {
  cmake -S "$work/src" -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_POSITION_INDEPENDENT_CODE=ON \
    -DSPM_ENABLE_SHARED=OFF -DSPM_USE_BUILTIN_PROTOBUF=OFF -DSPM_ENABLE_TCMALLOC=OFF &&
    cmake --build "$work/build" --target sentencepiece-static
} >"$build_log" 2>&1; then
  tail -n 40 "$build_log" >&2
  exit 1
fi

rm -rf "$out"
mkdir -p "$out/lib" "$out/include"
cp "$work/build/src/libsentencepiece.a" "$out/lib/"
cp "$work/src/src/sentencepiece_processor.h" "$out/include/"
cp "$work/src/debian/copyright" "$out/copyright"
printf '%s\n' "$stamp" >"$out/VERSION" # last: this is what says that the rest is whole
rm -rf "$work"
