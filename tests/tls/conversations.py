"""Conversations in TLS, and bytes that no library sends, against the server at PORT whose plain port is PLAIN.

usage: conversations.py PORT AUTHORITY PID PLAIN
"""

import asyncio
import pathlib
import re
import socket
import ssl
import struct
import sys

import websockets
from websockets.asyncio.client import connect

PORT, CA, PID, PLAIN = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
KEY = b"keyy"
HEAD = b"GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
HEAD_13 = HEAD + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
checks = 0


def check(what, got, want):
    global checks
    checks += 1
    if got != want:
        sys.exit(f"{what}: got {got!r:.300}, expected {want!r:.300}")


def context(**options):
    made = ssl.create_default_context(cafile=CA)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def masked(first, payload):
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else struct.pack("!BH", 0xFE, size) if size < 65536 else struct.pack("!BQ", 0xFF, size)
    return bytes([first]) + length + KEY + bytes(byte ^ KEY[at % 4] for at, byte in enumerate(payload))


class Raw:
    """A TLS connection of which this holds the wire."""

    def __init__(self, tls=None, port=PORT):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (tls or context()).wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.socket.recv(65536) or sys.exit("an end in the handshake"))
        self.flush()

    def flush(self):
        self.socket.sendall(self.outgoing.read())

    def say(self, data):
        self.tls.write(data)
        self.flush()

    def hear(self, size):
        """So many bytes, or fewer at the end."""
        heard = b""
        while len(heard) < size:
            try:
                part = self.tls.read(size - len(heard))
                if not part:
                    break
                heard += part
            except ssl.SSLZeroReturnError:
                break
            except ssl.SSLWantReadError:
                data = self.socket.recv(65536)
                if not data:
                    break
                self.incoming.write(data)
        return heard

    def open(self, path=b"/echo"):
        self.say(HEAD_13 % path)
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self.hear(1) or sys.exit(f"no handshake but {answer}")
        check("status", answer[:13], b"HTTP/1.1 101 ")
        return self


async def conversations():
    url = f"wss://localhost:{PORT}/echo"
    for tls in (context(), context(maximum_version=ssl.TLSVersion.TLSv1_2)):
        async with connect(url, ssl=tls, max_size=None, subprotocols=["chat"]) as ws:
            for size in (0, 1, 125, 126, 16384, 16385, 65535, 65536, 1 << 20, 5 << 20):
                for message in (b"\xa5" * size, "x" * size):
                    await ws.send(message)
                    check(f"echo of {size}", await ws.recv() == message, True)
            for each in range(1000):
                await ws.send(f"message {each}")
            for each in range(1000):
                check("echo of many", await ws.recv(), f"message {each}")
            await ws.close(4000, "so long")
            check("close", (ws.close_code, ws.close_reason), (4000, "so long"))
        async with connect(url, ssl=tls) as ws:
            await ws.send("quit")
            try:
                check("after quit", await ws.recv(), None)
            except websockets.ConnectionClosed as closed:
                check("after quit", closed.rcvd.code, 1000)
    async with connect(f"wss://localhost:{PORT}/board/tls", ssl=context()) as one:
        async with connect(f"wss://localhost:{PORT}/board/tls", ssl=context()) as two:
            await one.send("to the others")
            check("on a board", await two.recv(), "to the others")
            await two.send(b"x" * 30000)
            check("on a board", await one.recv(), b"x" * 30000)


def memory():
    return int(re.search(r"^RssAnon:\s*(\d+)", pathlib.Path(f"/proc/{PID}/status").read_text(), re.M)[1])


def held(count):
    """How much of the system's memory a connection takes that has had one echo, of which the last 1,024 keep expanded keys."""
    tls = context()
    warm = [Raw(tls).open() for _ in range(50)]
    before = memory()
    raws = []
    for _ in range(count):
        raws.append(Raw(tls).open())
        raws[-1].say(masked(0x81, b"hello"))
        check("echo", raws[-1].hear(7), b"\x81\x05hello")
    each = 1024 * (memory() - before) // count
    print(f"tls: {each} bytes a connection, of {count}")
    check("at most 2,400 bytes a connection", each <= 2400, True)
    return warm, raws


def drafts():
    raw = Raw()
    raw.say(HEAD % b"/echo" + b"Origin: http://a\r\n\r\n\x00hixie\xff")
    answer = b""
    while not answer.endswith(b"\x00hixie\xff"):
        answer += raw.hear(1) or sys.exit(f"Hixie-75: {answer}")
    check("where it is", b"WebSocket-Location: wss://localhost/echo" in answer, True)
    # The keys and the answer are the example of draft-ietf-hybi-thewebsocketprotocol-00, section 1.3.
    raw = Raw()
    raw.say(HEAD % b"/echo" + b"Origin: http://a\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n" + b"Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n^n:ds[4U")
    answer = b""
    while not answer.endswith(b"8jKS'y:G*Co,Wxa-"):
        answer += raw.hear(1) or sys.exit(f"Hixie-76: {answer}")
    check("where it is", b"Sec-WebSocket-Location: wss://localhost/echo" in answer, True)
    raw.say(b"\x00hixie\xff\xff\x00")
    check("its echo, and the end", raw.hear(9), b"\x00hixie\xff\xff\x00")
    for version in (b"8", b"7"):
        raw = Raw()
        raw.say(HEAD_13.replace(b"Version: 13", b"Version: " + version) % b"/echo" + masked(0x81, b"hybi"))
        answer = b""
        while not answer.endswith(b"\x81\x04hybi"):
            answer += raw.hear(1) or sys.exit(f"version {version}: {answer}")
        check("status", answer[:13], b"HTTP/1.1 101 ")


def bytes_by_hand():
    # Frames across records, one byte a record; and many frames in one.
    raw = Raw().open()
    for byte in masked(0x81, b"drip"):
        raw.say(bytes([byte]))
    check("a frame in nine records", raw.hear(6), b"\x81\x04drip")
    raw.say(b"".join(masked(0x82, bytes([each])) for each in range(200)))
    check("200 frames in one record", raw.hear(600), b"".join(b"\x82\x01" + bytes([each]) for each in range(200)))
    raw.say(b"")
    raw.say(masked(0x89, b"ping"))
    check("pong", raw.hear(6), b"\x8a\x04ping")
    # The end of one side, said in TLS: answered in TLS.
    raw.say(masked(0x88, b"\x03\xe8"))
    check("Close", raw.hear(4), b"\x88\x02\x03\xe8")
    try:
        raw.tls.unwrap()
    except ssl.SSLWantReadError:
        raw.flush()
    check("nothing behind it", raw.hear(1), b"")
    # An end without close_notify: the echo is there, and then the end.
    raw = Raw().open()
    raw.say(masked(0x81, b"last"))
    check("echo", raw.hear(6), b"\x81\x04last")
    raw.socket.shutdown(socket.SHUT_WR)
    check("end", raw.socket.recv(100)[:1] in (b"", b"\x17"), True)
    # What is no record, or too long a one, or one under other keys: an alert, and an end.
    for bad in (b"\x00" * 5, b"\x17\x03\x03\x48\x00", b"\x17\x03\x03\x00\x20" + b"x" * 32, b"\x17\x03\x03\x00\x02ab"):
        raw = Raw().open()
        raw.socket.sendall(bad)
        heard = b""
        while data := raw.socket.recv(4096):
            heard += data
        check(f"alert for {bad[:5]}", heard[:1] in (b"\x17", b"\x15"), True)
    for bad in (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", b"\x17\x03\x03\x00\x01\x00", b"\x16\x03\x01\x7f\xff"):
        raw = socket.create_connection(("127.0.0.1", PORT), timeout=30)
        raw.sendall(bad)
        check(f"alert for {bad[:5]}", raw.recv(100)[:1], b"\x15")
        check("end", raw.recv(100), b"")
    # Plain HTTP on the port of TLS is told so; TLS on the plain port is an end and a line in the log.
    raw = socket.create_connection(("127.0.0.1", PORT), timeout=30)
    raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = b""
    while data := raw.recv(4096):
        answer += data
    check("plain HTTP", (answer[:12], b"this port speaks TLS" in answer), (b"HTTP/1.1 400", True))
    raw = socket.create_connection(("127.0.0.1", PLAIN), timeout=30)
    raw.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    answer = b""
    while data := raw.recv(4096):
        answer += data
    check("TLS on the plain port", answer[:12], b"HTTP/1.1 400")


def ends():
    """Half of an end, which TLS 1.3 has and TLS 1.2 has not, in front of what a path has kept; and a RST."""
    said = masked(0x81, b"late") + masked(0x88, b"")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context(maximum_version=version)
        raw = Raw(tls).open(b"/ws/latency/300ms")
        raw.say(said)
        raw.socket.shutdown(socket.SHUT_WR)
        check(f"behind a FIN, {version.name}", raw.hear(9), b"\x81\x04late\x88\x00")
        raw = Raw(tls).open(b"/ws/latency/300ms")
        raw.say(said)
        try:
            raw.tls.unwrap()
        except ssl.SSLWantReadError:
            raw.flush()
        has_half_ends = version == ssl.TLSVersion.TLSv1_3
        check(f"behind close_notify, {version.name}", raw.hear(9), b"\x81\x04late\x88\x00" if has_half_ends else b"")
        raw = Raw(tls).open(b"/ws/message/hello/reset")
        check("in front of a RST", raw.hear(7), b"\x81\x05hello")
        try:
            check("a RST, and nothing else", raw.socket.recv(100), None)
        except ConnectionResetError:
            check("a RST", True, True)


asyncio.run(asyncio.wait_for(conversations(), 100))
drafts()
bytes_by_hand()
ends()
kept = held(1500)
print(f"Python {ssl.OPENSSL_VERSION}: {checks} checks")
