#!/usr/bin/env bash
# Installs what is missing for `build` (./demo) or `test` (./test). Quick when nothing is.
set -euo pipefail
purpose=${1:?usage: setup.sh build|test}
root=$(cd "$(dirname "$0")/../.." && pwd)
here=$root/tools/setup
oldest_rust=87  # of 1.87; as in cmake/TextFfi.cmake

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

debian_packages() {
  local list=("$here/debian-build.txt") missing=() package
  [ "$purpose" = test ] && list+=("$here/debian-test.txt")
  while read -r package; do
    case $package in
      # A Rust from rustup serves as well as Debian's.
      cargo-web | rustc-web)
        recent_rust || missing+=("$package")
        continue
        ;;
      # Another Node.js brings npm with it, and its package excludes Debian's.
      nodejs | npm) command -v npm >/dev/null && continue ;;
    esac
    dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
      missing+=("$package")
  done < <(cat "${list[@]}")
  [ ${#missing[@]} = 0 ] && return
  say "installing ${missing[*]}"
  as_root apt-get update -qq
  case " ${missing[*]} " in *" cargo-web "*) debian_rust ;; esac
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    "${missing[@]}" >/dev/null
}

# Debian 12's Rust of today lies in its security archive, which installers enable and debootstrap
# does not.
debian_rust() {
  local candidate uri suite
  candidate=$(apt-cache policy cargo-web | awk '/Candidate:/ { print $2 }')
  dpkg --compare-versions "${candidate:-0}" ge "1.$oldest_rust" && return
  read -r uri suite < <(apt-cache policy | awk '$2 ~ /\/debian\/?$/ { print $2, $3 }') || true
  if [ -z "${uri:-}" ]; then
    echo "setup: Rust 1.$oldest_rust or newer is needed: enable Debian's security archive, or install rustup" >&2
    exit 1
  fi
  say "adding Debian's security archive, for its Rust"
  echo "deb ${uri%/}-security ${suite%%/*}-security main" |
    as_root tee /etc/apt/sources.list.d/debian-security.list >/dev/null
  as_root apt-get update -qq
}

recent_rust() {
  local version
  version=$("$(command -v cargo || echo "$HOME/.cargo/bin/cargo")" --version 2>/dev/null) || return 1
  version=${version#cargo 1.}
  [ "${version%%.*}" -ge "$oldest_rust" ] 2>/dev/null
}

homebrew_packages() {
  command -v brew >/dev/null || { echo "setup: install Homebrew first (brew.sh)" >&2; exit 1; }
  xargs brew install --quiet <"$here/homebrew.txt"
}

# A virtual environment of its own for each list, made again when the list changes.
python_packages() {
  local name=$1 list=$2
  local venv=$root/.deps/$name
  cmp -s "$list" "$venv/installed.txt" && return
  say "installing Python packages into .deps/$name"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$list"
  cp "$list" "$venv/installed.txt"
}

# Node packages of a folder's lock file, likewise.
node_packages() {
  local name=$1 folder=$2
  local place=$root/.deps/$name
  cmp -s "$folder/package-lock.json" "$place/installed.json" && return
  say "installing Node packages into .deps/$name"
  rm -rf "$place"
  mkdir -p "$place"
  cp "$folder/package.json" "$folder/package-lock.json" "$place"
  npm ci --prefix "$place" --silent --no-audit --no-fund
  cp "$folder/package-lock.json" "$place/installed.json"
}

case $(uname -s) in
  Linux)
    if ! command -v apt-get >/dev/null; then
      echo "setup: only Debian's packages are known here; needed: $(xargs <"$here/debian-build.txt")" >&2
      exit 1
    fi
    debian_packages
    # MLX's wheel is the C++ SDK: headers, library and CMake package.
    python_packages mlx "$here/mlx-requirements.txt"
    # The compiler of the GPU kernels; it needs no GPU.
    python_packages cuda "$here/cuda-requirements.txt"
    ;;
  Darwin) homebrew_packages ;;
  *) echo "setup: $(uname -s) is not supported" >&2; exit 1 ;;
esac
if [ "$purpose" = test ]; then
  python_packages oracle "$root/tests/oracle/requirements.txt"
  python_packages http "$root/tests/http/requirements.txt"
  node_packages http-npm "$root/tests/http/npm"
  node_packages web "$root/tests/web"
fi
exit 0
