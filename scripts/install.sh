#!/usr/bin/env bash
# Installs what the work here needs: Debian packages, a virtual environment, the crates.
# Does nothing, quickly, where all is there. With -q it speaks only of what it does; on a terminal it shows how far it is.
set -euo pipefail
cd "$(dirname "$0")/.."

quiet=
[[ ${1:-} == -q ]] && quiet=yes
hush=(--quiet)
[[ $quiet || ! -t 1 ]] || hush=()

# ffmpeg and the font only draw footage; the function runs its own ffmpeg, which nasm to pkg-config build. Chromium plays
# the tests' clips; util-linux-extra has fincore, which tells what is in the page cache.
packages=(
  ca-certificates chromium chromium-driver ffmpeg fonts-dejavu-core python3-venv shellcheck strace unzip
  binutils dpkg-dev gcc libc6-dev make nasm pkg-config util-linux-extra
)

say() { printf '%s\n' "$*"; }
fail() { say "error: $*" >&2; exit 1; }
as_root() { if [[ $EUID == 0 ]]; then "$@"; else sudo -- "$@"; fi; }

install_packages() {
  local missing=() name states
  states=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
  for name in "${packages[@]}"; do
    grep -qx "$name installed" <<<"$states" || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  [[ $EUID == 0 ]] || command -v sudo >/dev/null || fail "neither root nor sudo: install ${missing[*]} with apt"
  say "1 of 3: installing Debian packages: ${missing[*]}"
  as_root apt-get -qq update
  local output=/dev/null
  ((${#hush[@]})) || output=/dev/stdout
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >"$output"
}

install_python_packages() {
  local python=python3
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11"
  say "2 of 3: installing Python packages into .venv"
  [[ -x .venv/bin/python ]] || "$python" -m venv --clear .venv
  .venv/bin/python -m pip install "${hush[@]}" --disable-pip-version-check --requirement scripts/requirements.txt
}

command -v apt-get >/dev/null || fail "this needs Debian 12 or later, or a relative of it"
command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
install_packages

stamp=.venv/installed
inputs=$(cat scripts/install.sh scripts/requirements.txt Cargo.lock | sha256sum)
if [[ ! -x .venv/bin/python || $(cat "$stamp" 2>/dev/null) != "$inputs" ]]; then
  install_python_packages
  say "3 of 3: fetching crates"
  cargo fetch --locked "${hush[@]}"
  printf '%s\n' "$inputs" >"$stamp"
fi
[[ $quiet ]] || say "all is installed; '. .venv/bin/activate' makes plain python the one with these packages"
