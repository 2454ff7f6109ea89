"""The server as a service in TLS: sockets passed as systemd passes them, what is served beside the echo, and its farewell.

usage: service.py WSECHO LEAN AUTHORITY   (LEAN is a build without TLS)
"""

import os
import signal
import socket
import ssl
import struct
import subprocess
import sys

WSECHO, LEAN, CA = sys.argv[1:]
KEY = b"keyy"
UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
checks = 0


def check(what, got, want):
    global checks
    checks += 1
    if got != want:
        sys.exit(f"{what}: got {got!r:.300}, expected {want!r:.300}")


def start(program, listeners, names, *arguments):
    """A server with `listeners` as its descriptors from 3 on."""
    def pass_on():
        copies = [os.dup2(os.dup(listener.fileno()), 100 + at) for at, listener in enumerate(listeners)]
        for at, copy in enumerate(copies):
            os.dup2(copy, 3 + at)
        os.environ["LISTEN_PID"] = str(os.getpid())

    # A shell would have another process id; `exec` keeps the one that is said.
    command = ["/bin/sh", "-c", 'LISTEN_PID=$$ exec "$0" "$@"', program, *arguments]
    environment = {**os.environ, "LISTEN_FDS": str(len(listeners)), "LISTEN_FDNAMES": ":".join(names)}
    return subprocess.Popen(command, env=environment, preexec_fn=pass_on, close_fds=False, stderr=subprocess.PIPE)


def connect(listener, **options):
    context = ssl.create_default_context(cafile=CA)
    raw = socket.create_connection(listener.getsockname(), 30)
    return context.wrap_socket(raw, server_hostname="localhost", suppress_ragged_eofs=False, **options)


def masked(first, payload):
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BQ", 0xFF, size)
    return bytes([first]) + length + KEY + bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))


def hear(client, size):
    heard = b""
    while len(heard) < size:
        heard += client.recv(size - len(heard)) or sys.exit(f"an end behind {heard}")
    return heard


def opened(listener, path=b"/echo"):
    client = connect(listener)
    client.sendall(UPGRADE % path)
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += hear(client, 1)
    check("status", answer[:13], b"HTTP/1.1 101 ")
    return client


def rest(client):
    """Everything up to close_notify; an end without it is an error."""
    heard = b""
    while part := client.recv(65536):
        heard += part
    return heard


def beside(tls, stats):
    """What else there is on the port, and the numbers on their own."""
    for path, what in ((b"/", b"<title>"), (b"/board", b"<title>"), (b"/ws", b"<title>"), (b"/metrics", b"wsecho_accepted_total")):
        client = connect(tls)
        client.sendall(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path)
        answer = rest(client)
        check(f"status of {path}", answer[:15], b"HTTP/1.1 200 OK")
        check(f"what is at {path}", what in answer, True)
    client = connect(tls)
    client.sendall(b"<policy-file-request/>\0")
    check("policy", rest(client)[:22], b"<cross-domain-policy><")
    with socket.create_connection(stats.getsockname(), 30) as plain:
        plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        check("numbers without TLS", plain.makefile("rb").read().endswith(b"ok\n"), True)


def told_to_go(client):
    """Its Close, with the code that says so, and whatever reason."""
    first, size = hear(client, 2)
    check("Close", (first, hear(client, size)[:2]), (0x88, b"\x03\xe9"))


def farewell(server, tls):
    """Everyone is told to go, in TLS: Close, close_notify, FIN; a frame that is on its way back ends first."""
    idle, middle, member, quiet = opened(tls), opened(tls), opened(tls, b"/board/a"), opened(tls)
    payload = bytes(range(250)) * 400
    frame = masked(0x82, payload)
    middle.sendall(frame[:60_000])
    echo = hear(middle, 30_000)
    idle.sendall(masked(0x81, b"hello"))
    check("echo", hear(idle, 7), b"\x81\x05hello")
    server.send_signal(signal.SIGTERM)
    for client in (idle, member):
        told_to_go(client)
        client.sendall(masked(0x88, b"\x03\xe9"))
        check("close_notify behind it", client.recv(1), b"")
        check("FIN behind that", socket.socket.recv(client.unwrap(), 1), b"")
    middle.sendall(frame[60_000:])
    echo += hear(middle, 10 + len(payload) - len(echo))
    check("its echo", echo[10:] == payload, True)
    told_to_go(middle)
    # One that answers with nothing is not waited for longer than the drain lasts.
    told_to_go(quiet)
    check("exit status", server.wait(30), 0)


with socket.create_server(("127.0.0.1", 0)) as tls, socket.create_server(("127.0.0.1", 0)) as stats:
    server = start(WSECHO, [stats, tls], ["stats", "echo-tls"], "--policy", "off", "--stats", "page")
    try:
        beside(tls, stats)
        farewell(server, tls)
    finally:
        server.kill()
    said = server.stderr.read().decode()
    check("TLS is announced", f"TLS on 127.0.0.1:{tls.getsockname()[1]}, echo at wss://" in said, True)
    lean = start(LEAN, [tls], ["echo-tls"])
    said = lean.communicate(timeout=30)[1].decode()
    check("a build without TLS", (lean.returncode, said.count("\n"), "--features tls" in said), (2, 1, True))
print(f"service: {checks} checks")
