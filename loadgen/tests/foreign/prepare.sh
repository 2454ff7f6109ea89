#!/usr/bin/env bash
# Makes the foreign echo servers ready under CACHE: Python's websockets and Node's ws, of those that the server's tests have.
#
#   prepare.sh CACHE
#
# On a fresh Debian it installs what it needs; where it cannot, it fails and says so.
source "$(dirname "$0")/../../../tests/support/lib.sh"
python_packages tests/foreign/requirements.txt "$tools/python"
node_packages
mkdir -p "$1"
for each in python node; do
    # What an earlier version of this put there may be a folder.
    [[ -L $1/$each ]] || rm -rf "${1:?}/$each"
    ln -sfn "$tools/$each" "$1/$each"
done
