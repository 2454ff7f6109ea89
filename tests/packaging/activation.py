"""Starts the server with its sockets, as a service manager does (sd_listen_fds(3), sd_notify(3)).

usage: activation.py WSECHO FILE-FOR-A-TRACE
"""

import os
import re
import socket
import sys
import tempfile

WSECHO, TRACE = sys.argv[1:]
PATIENCE = 30


def check(what, good):
    if not good:
        sys.exit(f'activation: {what}')


def start(listeners, environment):
    """Makes `listeners` the descriptors from 3 on. `strace -D` stays out of the way: the process is the server."""
    process = os.fork()
    if process == 0:
        copies = [os.dup(listener.fileno()) for listener in listeners]
        high = [os.dup2(copy, 100 + index) for index, copy in enumerate(copies)]
        for index, descriptor in enumerate(high):
            os.dup2(descriptor, 3 + index)
        os.closerange(3 + len(listeners), 200)
        environment['LISTEN_PID'] = str(os.getpid())
        os.execvpe('strace', ['strace', '-D', '-f', '-e', 'trace=%network', '-o', TRACE, WSECHO, '--ping-interval', '60'],
                   {**os.environ, **environment})
    return process


def answer(listener, request, size):
    with socket.create_connection(listener.getsockname(), PATIENCE) as client:
        client.sendall(request)
        return client.makefile('rb').read(size)


with tempfile.TemporaryDirectory() as directory, \
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, \
        socket.create_server(('127.0.0.1', 0)) as policy, socket.create_server(('127.0.0.1', 0)) as echo:
    manager.bind(f'{directory}/notify')
    manager.settimeout(PATIENCE)
    # The order of sockets is systemd's to choose; the names tell them apart.
    server = start([policy, echo], {'LISTEN_FDS': '2', 'LISTEN_FDNAMES': 'policy:echo', 'WATCHDOG_USEC': '1000000',
                                    'NOTIFY_SOCKET': f'{directory}/notify'})
    try:
        check('it is not ready first', manager.recv(4096).startswith(b'READY=1\n'))
        page = answer(echo, b'GET / HTTP/1.1\r\nHost: a\r\n\r\n', 15)
        check(f'no page on the echo socket: {page}', page == b'HTTP/1.1 200 OK')
        file = answer(policy, b'<policy-file-request/>\0', 5)
        check(f'no policy on the policy socket: {file}', file == b'<cros')
        check('the watchdog hears something else', manager.recv(4096) == b'WATCHDOG=1')
    finally:
        os.kill(server, 15)
    while (notice := manager.recv(4096)) == b'WATCHDOG=1':
        pass
    check(f'no STOPPING=1 but {notice}', notice.startswith(b'STOPPING=1\n'))
    check('it did not exit with 0', os.waitpid(server, 0)[1] == 0)

with open(TRACE) as trace:
    calls = re.findall(r'\b(socket|bind|listen|connect)\(([^,)]*)', trace.read())
check(f'it opens sockets of its own: {calls}', set(calls) == {('socket', 'AF_UNIX')})
print('activation: serves what it is passed, and opens nothing')
