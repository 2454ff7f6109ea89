#!/usr/bin/env bash
# Reads reports back with software that is not ours: Python's hdrhistogram for every histogram, .hgrm and .hlog,
# Python's jsonschema for the JSON.
#
#   readback.sh CACHE REPORTS       CACHE keeps the Python packages, REPORTS holds name.json, name.hlog, name.hgrm
#
# On a fresh Debian it installs what it needs; where it cannot, it fails and says so.
here=$(cd "$(dirname "$0")" && pwd)
source "$here/../../tests/support/lib.sh"
python_packages "$here/requirements.txt" "$1/readback-python"
exec "$1/readback-python/bin/python" "$here/readback.py" "$here/../schema/report-2.json" "$2"
