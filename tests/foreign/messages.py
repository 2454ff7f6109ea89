"""What every Python client sends and wants back, and how it says so."""

import pathlib
import random
import re

LENGTHS = [1, 125, 126, 127, 65535, 65536, 1 << 20]
TEXTS = ["", "hello", "κόσμε ✓ 😀", "quit!", "Quit", *("é" * (n // 2) + "x" * (n % 2) for n in LENGTHS)]
BINARIES = [b"", b"quit", *(bytes(i * 31 % 256 for i in range(n)) for n in LENGTHS)]
PATIENCE = 30  # seconds until an answer that does not come is given up
GROWTH = 256  # KiB that a server may grow by, whatever is said to it: what one read and its answer take
checks = 0


def conversation(count):
    """A long conversation: text and binary, with and without repetitions, of many sizes up to 70,000 bytes."""
    noise = random.Random(1)
    for i in range(count):
        size = (0, 3, 20, 125, 126, 1000, 5000, 33000, 70000)[i % 9]
        yield (
            lambda: "".join(noise.choices(("κόσμε ", "hello ", f"{i} "), k=size // 8)),
            lambda: noise.randbytes(size),
            lambda: "".join(chr(32 + byte % 95) for byte in noise.randbytes(size)),
            lambda: bytes([i % 256]) * size,
        )[i % 4]()


def memory(pid):
    """Anonymous memory of a process in KiB."""
    return int(re.search(r"^RssAnon:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)[1])


def check(what, got, want):
    global checks
    checks += 1
    if got != want:
        got, want = (text if len(text := repr(value)) < 200 else f"{text[:200]}... ({len(value)})" for value in (got, want))
        raise AssertionError(f"{what}: got {got}, expected {want}")


def check_echo(got, message):
    check(f"echo of {len(message)} {'bytes' if isinstance(message, bytes) else 'characters'}", got, message)


def done(client, row=None):
    """Says so, and the row of the table of clients: client, version, draft, deflate, subprotocol, what it showed."""
    print(f"{client}: {checks} checks")
    if row:
        print("\t".join(row))
