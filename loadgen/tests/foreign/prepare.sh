#!/usr/bin/env bash
# Makes the foreign echo servers ready: Python's websockets and Node's ws, kept under CACHE.
#
#   prepare.sh CACHE
#
# On a fresh Debian it installs what it needs; where it cannot, it fails and says so.
set -euo pipefail
cache=$1
python=websockets==17.4
node=ws@8.23.0

fail() { echo "prepare.sh: $*" >&2; exit 1; }
need() { apt-get install -y -q "$@" >&2 || { apt-get update -q >&2 && apt-get install -y -q "$@" >&2; } ||
  fail "needs $*, and apt-get could not install it"; }

ready=$cache/$python-$node.ready
[ ! -e "$ready" ] || exit 0
mkdir -p "$cache"
rm -rf "$cache/python" "$cache/node"
python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv
command -v npm >/dev/null || need nodejs npm
python3 -m venv "$cache/python" || fail "could not make a virtual environment in $cache/python"
"$cache/python/bin/pip" install -q --disable-pip-version-check "$python" >&2 || fail "could not install $python from PyPI"
npm install --prefix "$cache/node" --silent --no-fund --no-audit "$node" >&2 || fail "could not install $node from npm"
touch "$ready"
