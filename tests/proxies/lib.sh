# Sourced by the tests of proxies, after tests/support/lib.sh.

# need_proxies: installs nginx and HAProxy without starting them, which their packages do where nothing forbids it.
need_proxies() {
    local policy=/usr/sbin/policy-rc.d ours=
    if [[ ! -e $policy ]]; then
        ours=1
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    local status=0
    need nginx libnginx-mod-stream haproxy || status=$?
    [[ -z $ours ]] || rm "$policy"
    return "$status"
}

# isolated COMMAND...: runs it with a network and a /run of its own, so that fixed ports and paths are nobody else's.
# With it ends whatever it has started.
isolated() {
    unshare --net --mount --pid --fork --kill-child --mount-proc bash -c 'ip link set lo up && mount -t tmpfs none /run && mkdir /run/wsecho && exec "$@"' - "$@"
}
