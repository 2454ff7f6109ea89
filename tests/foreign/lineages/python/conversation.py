"""What every client of Python here says and wants back; and the line that says how it went."""

import sys

LENGTHS = [1, 125, 126, 65535, 65536, 1 << 20]
TEXTS = ["hello", "κόσμε ✓ 😀", *("é" * (n // 2) + "x" * (n % 2) for n in LENGTHS)]
BINARIES = [b"quit", *(bytes(i * 31 % 256 for i in range(n)) for n in LENGTHS)]
MESSAGES = [*TEXTS, *BINARIES]


def check(what, got, want):
    if got != want:
        got, want = (text if len(text := repr(value)) < 200 else f"{text[:200]}... ({len(value)})" for value in (got, want))
        sys.exit(f"{what}: got {got}, expected {want}")


def echo(got, message):
    check(f"echo of {len(message)} {'bytes' if isinstance(message, bytes) else 'characters'}", got, message)


def done(client, version, deflate, subprotocol, showed):
    """One line of the table: client, version, draft, deflate, subprotocol, what it showed."""
    print(f"{client}\t{version}\t13\t{'yes' if deflate else 'no'}\t{subprotocol or 'none'}\t{showed}")
