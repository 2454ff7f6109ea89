# Sourced by the test scripts. Leaves the caller in the repository's root, with $tools for what tests install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=$PWD/tests/.tools
wsecho=$(realpath -m "${CARGO_TARGET_DIR:-target}")/release/wsecho
mkdir -p "$tools/out"

# need PACKAGE...: installs the Debian packages that are missing.
need() {
    local missing
    mapfile -t missing < <(missing "$@")
    ((${#missing[@]})) || return 0
    # One at a time: `apt-get update` does not wait for another one.
    (
        flock 9
        mapfile -t missing < <(missing "$@")
        ((${#missing[@]})) || exit 0
        echo "installing ${missing[*]}" >&2
        # The lists are updated only if they do not do: a fresh machine has none, an old one has stale ones.
        install "${missing[@]}" >/dev/null 2>&1 || { apt-get -qq update && install "${missing[@]}" >/dev/null; }
    ) 9>"$tools/apt.lock"
}

# install PACKAGE...: without waiting for the disk, and without the lock, which a service that a package starts would keep.
install() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o DPkg::Options::=--force-unsafe-io \
        install -y --no-install-recommends "$@" 9>&-
}

# missing PACKAGE...: those that are not installed.
missing() {
    local package
    for package; do
        [[ $(dpkg-query -Wf '${Status}' "$package" 2>/dev/null) == *' installed' ]] || echo "$package"
    done
}

# needed FILE...: what their lines that begin with `need` ask for.
needed() { sed -n ':a; /\\$/{N; s/\\\n//; ba}; s/^need //p' "$@" | tr -s ' ' '\n' | sort -u; }

# python_packages FILE DIR: a Python at DIR/bin/python with what FILE asks for, made again when that changes.
python_packages() {
    need python3-venv
    cmp -s "$1" "$2/requirements.txt" && return
    rm -rf "$2"
    /usr/bin/python3 -m venv "$2"
    "$2/bin/pip" -q --disable-pip-version-check install -r "$1"
    cp "$1" "$2"
}

# node_packages: Node, with NODE_PATH leading to what tests/foreign/package.json asks for, made again when that changes.
node_packages() {
    need nodejs
    command -v npm >/dev/null || need npm
    export NODE_PATH=$tools/node/node_modules
    cmp -s tests/foreign/package.json "$tools/node/installed.json" && return
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp tests/foreign/package.json "$tools/node"
    npm install --prefix "$tools/node" --silent --no-fund --no-audit
    cp tests/foreign/package.json "$tools/node/installed.json"
}

# build: the release build of the server, at $wsecho.
build() { cargo build --quiet --release --bin wsecho; }

# serve ARGUMENT...: starts $wsecho on a free port of 127.0.0.1. Sets $server to its process id and $address to where
# it listens; its stderr is in $log. `stop` ends it, and the end of the script ends all that were started.
serve() {
    log=$tools/out/wsecho-${#servers[@]}.log
    : >"$log"
    "${tracer[@]}" "$wsecho" --listen 127.0.0.1:0 "$@" 2>"$log" &
    server=$!
    servers+=("$server")
    trap 'kill -KILL "${servers[@]}" 2>/dev/null || true' EXIT
    for _ in {1..100}; do
        address=$(sed -n 's/^wsecho: listening on \([^,]*\), .*/\1/p' "$log")
        [ -z "$address" ] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    echo "wsecho did not say where it listens, but: $(<"$log")" >&2
    return 1
}
servers=()
tracer=() # a command that is to run the server

# stop: ends the server with SIGTERM, and fails unless it exits with 0 within ten seconds.
stop() {
    local status=0
    kill -TERM "$server" || { echo "wsecho had died: $(tail -n 5 "$log")" >&2; return 1; }
    for _ in {1..100}; do
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$server" 2>/dev/null && echo 'wsecho took no notice of SIGTERM' >&2
    wait "$server" || status=$?
    ((status == 0)) || echo "wsecho exited with $status: $(tail -n 5 "$log")" >&2
    return "$status"
}
