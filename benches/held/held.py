"""Three workers of one server, three loadgens that hold connections to them, and beside them peers that mean harm. See `run`."""

import asyncio
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

BINARIES, OPTIONS = pathlib.Path(sys.argv[1]), sys.argv[2:]
QUICK = "--quick" in OPTIONS
README = pathlib.Path("tests/hostile/README.md")
PROCESSES = 3
HELD = 667 if QUICK else 19_000
SECONDS = 15 if QUICK else 60
WARMUP = 12
DEAF = 60 if QUICK else 500
SLOW = 600 if QUICK else 5_000
STORM_AT_ONCE = 60
PORT = 8087
# What the descriptors of a server leave: a handshake that never ends has so many seconds.
HANDSHAKE_TIMEOUT = 2
SLOW_AT_ONCE = 150 if QUICK else 900
HEAD = (
    b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
HELLO, ECHO = b"\x81\x85\0\0\0\0hello", b"\x81\x05hello"


def address(index):
    return f"127.0.0.{1 + index % PROCESSES}"


def field(path, name):
    return int(re.search(rf"^{name}:\s*(\d+)", pathlib.Path(path).read_text(), re.M)[1])


def user_memory(servers):
    return 1024 * sum(field(f"/proc/{each}/status", "RssAnon") for each in servers)


def kernel_memory():
    return 1024 * field("/proc/meminfo", "Slab")


def descriptors(servers):
    return [len(os.listdir(f"/proc/{each}/fd")) for each in servers]


def processor(servers):
    ticks = 0
    for each in servers:
        ticks += sum(map(int, pathlib.Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


async def open_one(index):
    reader, writer = await asyncio.open_connection(address(index), PORT)
    writer.write(HEAD)
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


class Beside:
    """Everything that goes on beside those who are held."""

    def __init__(self):
        self.over = False
        self.storms = self.ended = 0
        self.deaf = []

    async def storm(self, index):
        """Comes, says hello, hears it, and goes, again and again."""
        while not self.over:
            reader, writer = await open_one(index)
            writer.write(HELLO)
            heard = await reader.readexactly(len(ECHO))
            assert heard == ECHO, heard
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()
            self.storms += 1
            await asyncio.sleep(0.02)

    async def never_reads(self, index):
        """Sends messages of 60,000 bytes until nothing goes any more, and stays."""
        reader, writer = await open_one(index)
        reader._transport.pause_reading()
        writer.write((b"\x82\xfe\xea\x60\0\0\0\0" + bytes(60_000)) * 100)
        self.deaf.append(writer)

    async def slow(self, turns, index):
        """Drips a head that never ends, until the server gives it up."""
        async with turns:
            reader, writer = await asyncio.open_connection(address(index), PORT)
            writer.write(HEAD[:60])
            for byte in HEAD[60:160]:
                if reader.at_eof():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.1)
            await reader.read()
            writer.close()
            self.ended += 1

    async def go_on(self, seconds):
        turns = asyncio.Semaphore(SLOW_AT_ONCE)
        slow = [asyncio.create_task(self.slow(turns, index)) for index in range(SLOW)]
        await asyncio.gather(*(self.never_reads(index) for index in range(DEAF)))
        storms = [asyncio.create_task(self.storm(index)) for index in range(STORM_AT_ONCE)]
        await asyncio.sleep(seconds)
        self.over = True
        await asyncio.gather(*storms, *slow)
        gone = sum(writer.is_closing() for writer in self.deaf)
        assert gone == 0, f"{gone} of those who never read were dropped"
        for writer in self.deaf:
            writer.transport.abort()


def start_server():
    """The parent, and the process ids of its workers."""
    command = [BINARIES / "wsecho", "--workers", str(PROCESSES), "--policy", "off", "--log-level", "error"]
    command += ["--handshake-timeout", str(HANDSHAKE_TIMEOUT)]
    for index in range(PROCESSES):
        command += ["--listen", f"{address(index)}:{PORT}"]
    parent = subprocess.Popen(command)
    children = pathlib.Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    wait_for("all workers are there", lambda: len(children.read_text().split()) == PROCESSES)
    time.sleep(0.5)
    return parent, [int(pid) for pid in children.read_text().split()]


def start_loadgens(folder):
    loadgens = []
    for index in range(PROCESSES):
        command = [BINARIES / "loadgen", "-q", f"-c{HELD}", f"-R{HELD // 10}", f"-d{SECONDS}s", f"--warmup={WARMUP}s"]
        # A source address each: 28,232 ports are what one has.
        command += ["--connect-rate=2k", f"--source=127.0.1.{1 + index}", f"--json={folder}/{index}.json", "--drain=10s"]
        command += [f"ws://{address(index)}:{PORT}/echo"]
        loadgens.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
    return loadgens


def wait_for(what, condition, patience=180):
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"held: {what}: it did not come to that")
        time.sleep(0.2)


def measure(folder):
    parent, servers = start_server()
    user, kernel = user_memory(servers), kernel_memory()
    loadgens = start_loadgens(folder)
    wait_for("all are held", lambda: sum(descriptors(servers)) >= PROCESSES * HELD)
    time.sleep(2)
    held = descriptors(servers)
    each = {
        "user": (user_memory(servers) - user) / (HELD * PROCESSES),
        # Both ends are on this machine.
        "kernel": (kernel_memory() - kernel) / (HELD * PROCESSES) / 2,
    }
    beside, before, start = Beside(), processor(servers), time.monotonic()
    asyncio.run(beside.go_on(WARMUP + SECONDS))
    spent, took = processor(servers) - before, time.monotonic() - start
    most = user_memory(servers)
    for loadgen in loadgens:
        loadgen.wait()
    reports = [json.loads(pathlib.Path(folder, f"{index}.json").read_text()) for index in range(PROCESSES)]
    parent.send_signal(signal.SIGTERM)
    return each, beside, spent / took, took, most, held, reports, parent.wait(timeout=30)


def total(reports, *path):
    values = []
    for report in reports:
        for name in path:
            report = report[name]
        values.append(report)
    return values


def judge(reports, beside, each, status):
    faults = []
    for name in ("lost", "duplicated", "reordered", "corrupt", "unanswered", "late", "unsolicited", "timeouts"):
        if count := sum(total(reports, "messages", name)):
            faults.append(f"{count} messages {name}")
    if min(total(reports, "connections", "held_min")) < HELD:
        faults.append(f"connections lost: {total(reports, 'connections', 'held_min')} of {HELD} were held")
    if sum(total(reports, "messages", "received")) < HELD // 10 * PROCESSES * SECONDS:
        faults.append("fewer messages than were asked for")
    if beside.ended != SLOW or beside.storms < 100:
        faults.append(f"{beside.ended} slow handshakes ended, and {beside.storms} came and went")
    # A small crowd bears the pages that a process has anyhow.
    if each["user"] > (1_000 if QUICK else 250):
        faults.append(f"{each['user']:.0f} bytes of ours a connection")
    if status:
        faults.append(f"the server ended with {status}")
    return faults


def rows(each, beside, share, took, most, held, reports):
    def quantile(name):
        found = [report["latency_ns"]["response"]["p"].get(name) for report in reports]
        return "-" if None in found else f"{max(found) / 1e6:.2f}"

    worst = max(total(reports, "latency_ns", "response", "max")) / 1e6
    received = sum(total(reports, "messages", "received"))
    return [
        ("connections held, and most descriptors of a worker", f"{HELD * PROCESSES:,}, {max(held):,}"),
        ("messages echoed, and lost", f"{received:,}, {sum(total(reports, 'messages', 'lost'))}"),
        ("beside: came, spoke and went", f"{beside.storms:,} ({beside.storms / took:,.0f} a second)"),
        ("beside: never read, slow handshakes", f"{DEAF:,}, {SLOW:,}"),
        ("our memory a connection, held", f"{each['user']:.0f} B"),
        ("the kernel's, an end of one", f"{each['kernel'] / 1000:.1f} kB"),
        ("our memory at most, three workers, with those beside", f"{most / (1 << 20):.1f} MiB"),
        ("processor, three workers", f"{share * 100:.0f}% of one"),
        ("response p50, p99, p99.9, at most (the worst of three loadgens)",
         f"{quantile('50')}, {quantile('99')}, {quantile('99.9')}, {worst:.0f} ms"),
    ]


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        each, beside, share, took, most, held, reports, status = measure(folder)
    table = rows(each, beside, share, took, most, held, reports)
    for name, figure in table:
        print(f"held: {name}: {figure}")
    if faults := judge(reports, beside, each, status):
        sys.exit("held: " + "; ".join(faults))
    if "--table" in OPTIONS and not QUICK:
        begin, end = "<!-- held: -->\n", "<!-- :held -->\n"
        text = README.read_text()
        before, after = text.split(begin)[0], text.split(end)[1]
        lines = "".join(f"| {name} | {figure} |\n" for name, figure in table)
        README.write_text(f"{before}{begin}| | |\n|---|---|\n{lines}{end}{after}")


main()
