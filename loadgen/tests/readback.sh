#!/usr/bin/env bash
# Reads reports back with software that is not ours: Python's hdrhistogram for every histogram, .hgrm and .hlog,
# Python's jsonschema for the JSON.
#
#   readback.sh CACHE REPORTS       CACHE keeps the Python packages, REPORTS holds name.json, name.hlog, name.hgrm
#
# On a fresh Debian it installs what it needs; where it cannot, it fails and says so.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$1 reports=$2
packages=(hdrhistogram==0.10.8 jsonschema==4.26.0)
venv=$cache/readback-${packages[*]// /}
venv=${venv// /-}

fail() { echo "readback.sh: $*" >&2; exit 1; }

if [ ! -e "$venv/ready" ]; then
  mkdir -p "$cache"
  rm -rf "$venv"
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    apt-get install -y -q python3-venv >&2 || { apt-get update -q >&2 && apt-get install -y -q python3-venv >&2; } ||
      fail "needs Python 3 with venv, and apt-get could not install it"
  fi
  python3 -m venv "$venv" || fail "could not make a virtual environment in $venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "${packages[@]}" >&2 ||
    fail "could not install ${packages[*]} from PyPI"
  touch "$venv/ready"
fi
exec "$venv/bin/python" "$here/readback.py" "$here/../schema/report-2.json" "$reports"
