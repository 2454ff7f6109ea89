"""Instructions per unit of work of two builds of wsecho, counted by callgrind.

usage: count.py REFERENCE-BINARY BINARY

Each kind of work is run twice with the same binary, a few units and many; the difference is what the additional units
cost, and start and end of the process fall out. One unit is awaited before the next is sent, so that a count is the same
in every run but for the odd extra round of the loop. On a host that is very busy those are many: what is too much is
counted again, and the lowest counts hold.
"""

import math
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile

RISE_MAX = 1.02
TRIES = 3
HEAD = (
    b"GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(payload):
    """A masked binary frame (RFC 6455 section 5.2)."""
    key = b"\x12\x34\x56\x78"
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0x80 | 126, size)
    masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
    return b"\x82" + length + key + masked


def read_exactly(client, size):
    while size:
        size -= len(client.recv(size)) or sys.exit("instructions: the server closed")


def connect(address, path=b"/echo"):
    client = socket.create_connection(address, timeout=60)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.sendall(HEAD.replace(b"/echo", path))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += client.recv(4096) or sys.exit("instructions: no handshake")
    return client


def echoes(size, count):
    """Work on one connection: so many frames of `size` bytes in one write, and their echo, which has no masking keys."""
    frames = count * frame(bytes(size))
    echo_size = len(frames) - 4 * count

    def work(address, units):
        with connect(address) as client:
            for _ in range(units):
                client.sendall(frames)
                read_exactly(client, echo_size)

    return work


def handshakes(address, units):
    for _ in range(units):
        with connect(address) as client:
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b"", "instructions: bytes behind a FIN"


def beside_programs(work):
    """The same while others hold paths under /ws, which say nothing meanwhile."""

    def work_beside(address, units):
        paths = (b"/ws/mute/echo", b"/ws/sink", b"/ws/latency/1", b"/ws/fragment/2", b"/ws/after/3/reset", b"/ws/delay/10")
        others = [connect(address, path) for path in paths]
        work(address, units)
        for other in others:
            other.close()

    return work_beside


WORK = [
    # what it is, the work, units: few and many
    ("echo of 20 bytes", echoes(20, 1), 1000, 6000),
    ("16 echoes of 20 bytes in one read", echoes(20, 16), 500, 3000),
    ("echo of 16 KiB", echoes(16384, 1), 100, 600),
    ("connect, handshake and end", handshakes, 100, 600),
]


def instructions(binary, work, units):
    """User-space instructions of a whole life of the server in which so many units were done."""
    with tempfile.TemporaryDirectory() as folder:
        out, log = os.path.join(folder, "out"), os.path.join(folder, "log")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", binary]
        command += ["--listen", "127.0.0.1:0", "--policy", "off"]
        with open(log, "w") as stderr:
            server = subprocess.Popen(command, stderr=stderr)
        try:
            port = None
            while port is None:
                if server.poll() is not None:
                    sys.exit(f"instructions: {binary} ended: {open(log).read()}")
                port = re.search(r"listening on 127\.0\.0\.1:(\d+)", open(log).read())
            work(("127.0.0.1", int(port[1])), units)
            server.send_signal(signal.SIGTERM)
            server.wait(60)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
        return int(re.search(r"^(?:summary|totals): (\d+)", open(out).read(), re.M)[1])


class Cost:
    """Instructions per unit of work of a binary."""

    def __init__(self, binary, work, few, many):
        self.binary, self.work = binary, work
        self.lowest = {few: math.inf, many: math.inf}

    def count(self):
        """Counts once more: an extra round only adds, so the lowest counts so far are nearest."""
        for units, lowest in self.lowest.items():
            self.lowest[units] = min(lowest, instructions(self.binary, self.work, units))
        (few, least), (many, most) = self.lowest.items()
        return (most - least) / (many - few)


def is_more(name, was, now):
    """Prints a row; whether the second cost is too much beside the first, however often both are counted."""
    for _ in range(TRIES):
        before, count = was.count(), now.count()
        if count <= RISE_MAX * before:
            break
    rise = count > RISE_MAX * before
    print(f"{name:37} {before:10.0f} {count:10.0f} {count / before:7.3f}" + ("  too much" * rise), flush=True)
    return rise


def main():
    reference, now = sys.argv[1:]
    print(f"{'instructions per':37} {'reference':>10} {'now':>10} {'ratio':>7}")
    failed = [is_more(name, Cost(reference, *work), Cost(now, *work)) for name, *work in WORK]
    _, work, *units = WORK[0]
    beside = Cost(now, beside_programs(work), *units)
    failed.append(is_more("the first: alone, and beside programs", Cost(now, work, *units), beside))
    if any(failed):
        sys.exit("instructions: more than 2 % over the reference, or beside programs: mend it, or move benches/instructions/reference and say why")


main()
