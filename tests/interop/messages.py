"""What every Python client sends and wants back, and how it says so."""

LENGTHS = [1, 125, 126, 127, 65535, 65536, 1 << 20]
TEXTS = ["", "hello", "κόσμε ✓ 😀", "quit!", "Quit", *("é" * (n // 2) + "x" * (n % 2) for n in LENGTHS)]
BINARIES = [b"", b"quit", *(bytes(i * 31 % 256 for i in range(n)) for n in LENGTHS)]
PATIENCE = 30  # seconds until an answer that does not come is given up
checks = 0


def check(what, got, want):
    global checks
    checks += 1
    if got != want:
        got, want = (text if len(text := repr(value)) < 200 else f"{text[:200]}... ({len(value)})" for value in (got, want))
        raise AssertionError(f"{what}: got {got}, expected {want}")


def check_echo(got, message):
    check(f"echo of {len(message)} {'bytes' if isinstance(message, bytes) else 'characters'}", got, message)


def done(client):
    print(f"{client}: {checks} checks")
