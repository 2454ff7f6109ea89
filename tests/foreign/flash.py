"""A scripted Flash player with the four generations of web-socket-js in it.

usage: flash.py ADDRESS:PORT POLICY-ADDRESS:PORT

The player asks for a socket policy the way Flash and Lightspark did; on a connection of its own the bridge then makes the
checks that each generation of web-socket-js made, and no others.
"""

import base64
import hashlib
import os
import random
import re
import socket
import struct
import sys
import xml.etree.ElementTree as xml

from messages import PATIENCE, check, done

POLICY_PATIENCE = 3  # seconds Flash waits for the master policy port before it asks the port it wants to talk to
REQUEST = b"<policy-file-request/>\0"
# Until 2013 the bridge knew no continuation frames, so its echoes have to be single frames; up to 32 KiB they are.
TEXTS = ["", "hello", "κόσμε ✓ 😀", "NUL\0inside", "\0", *("é" * (n // 2) + "x" * (n % 2) for n in (1, 125, 126, 127, 32768))]


def address(text):
    host, port = text.rsplit(":", 1)
    return host, int(port)


def connect(where, timeout=PATIENCE):
    connection = socket.create_connection(where, timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def exactly(connection, count):
    data = b""
    while len(data) < count and (more := connection.recv(count - len(data))):
        data += more
    return data


# The player.


def until_nul(connection):
    """Flash: everything up to a NUL, which has to come; then the server is to hang up."""
    policy = exactly(connection, 1)
    while policy and policy[-1]:
        policy += exactly(connection, 1)
    check("NUL behind the policy", policy[-1:], b"\0")
    check("what follows the policy", connection.recv(1), b"")
    return policy[:-1]


def in_one_read(connection):
    """Lightspark: one read has to bring it all, and its last byte is cut off unseen."""
    return connection.recv(4096)[:-1]


def ask(where, request, read, timeout=POLICY_PATIENCE):
    """The policy that a port gives, or None where it cannot be reached or does not answer in time."""
    try:
        with connect(where, timeout) as connection:
            for piece in request:
                connection.sendall(piece)
            connection.settimeout(timeout)
            return read(connection)
    except (TimeoutError, ConnectionRefusedError):
        return None


def check_policy(policy, port):
    """The document as the player understands it: `domain` and `to-ports` are needed, and have to let us in."""
    root = xml.fromstring(policy)
    check("root of the policy", root.tag, "cross-domain-policy")
    rules = root.findall("allow-access-from")
    check("rules", len(rules), 1)
    check("domain", rules[0].get("domain"), "*")
    ports = rules[0].get("to-ports")
    check(f"to-ports lets port {port} in", ports == "*" or str(port) in ports.split(","), True)


def play(echo, master):
    """Asks the master port, then, if that gives nothing, the port the traffic is for."""
    policy = ask(master, [REQUEST], until_nul)
    if policy is None:
        policy = ask(echo, [REQUEST], until_nul)
    check_policy(policy, echo[1])


# The bridge.


class Bridge:
    """A connection of web-socket-js, in one of the versions it spoke in its time."""

    def __init__(self, version, path="/echo?room=1", protocols=()):
        self.connection = connect(echo)
        self.version = version
        self.hixie = version in (75, 76)
        self.origin = "http://Flash.Example"
        self.protocols = protocols
        host = f"Host: {echo[0]}:{echo[1]}"
        cookie = "Cookie: "
        getattr(self, f"open_{version}")(f"GET {path} HTTP/1.1", host, cookie)

    def request(self, *lines, body=b""):
        self.connection.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode() + body)

    def head(self):
        """The headers of the answer, by lower-case name, as strictly as the strictest version read them."""
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := self.connection.recv(1)):
            head += byte
        status, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        check(f"status line {status!r}", bool(re.match(r"HTTP/1.1 101 ", status)), True)
        headers = {}
        for line in lines:
            match = re.fullmatch(r"(\S+): (\S.*)", line)
            check(f"one space behind the colon of {line!r}", match is not None, True)
            headers[match[1].lower()] = match[2]
        check("Upgrade", headers["upgrade"].lower(), "websocket")
        check("Connection", headers["connection"].lower(), "upgrade")
        return headers

    def check_protocol(self, headers, name):
        check("subprotocol is one of those asked for", headers.get(name) in (self.protocols or [None]), True)

    def open_75(self, get, host, cookie):
        wanted = [f"WebSocket-Protocol: {self.protocols[0]}"] if self.protocols else []
        self.request(get, "Upgrade: WebSocket", "Connection: Upgrade", host, f"Origin: {self.origin}", cookie, *wanted)
        headers = self.head()
        check("origin", headers["websocket-origin"].lower(), self.origin.lower())
        self.check_protocol(headers, "websocket-protocol")

    def open_76(self, get, host, cookie):
        lines, body, digest = self.challenge(get, host, cookie)
        self.request(*lines, body=body)
        self.check_76(self.head(), digest)

    def challenge(self, get, host, cookie):
        (number1, key1), (number2, key2), key3 = key_of_76(), key_of_76(), os.urandom(8)
        digest = hashlib.md5(struct.pack(">II", number1, number2) + key3).digest()
        lines = [get, "Upgrade: WebSocket", "Connection: Upgrade", host, f"Origin: {self.origin}", cookie]
        lines += [f"Sec-WebSocket-Key1: {key1}", f"Sec-WebSocket-Key2: {key2}"]
        if self.protocols:
            lines.append("Sec-WebSocket-Protocol: " + ",".join(self.protocols))
        return lines, key3, digest

    def check_76(self, headers, digest):
        check("origin", headers["sec-websocket-origin"].lower(), self.origin.lower())
        self.check_protocol(headers, "sec-websocket-protocol")
        check("digest", exactly(self.connection, 16), digest)

    def open_8(self, get, host, cookie):
        self.open_hybi(get, host, cookie, f"Sec-WebSocket-Origin: {self.origin}")

    def open_13(self, get, host, cookie):
        self.open_hybi(get, host, cookie, f"Origin: {self.origin}")

    def open_hybi(self, get, host, cookie, origin):
        # Sixteen bytes below 128: it made them out of a string.
        key = base64.b64encode(bytes(random.randrange(128) for _ in range(16))).decode()
        wanted = ["Sec-WebSocket-Protocol: " + ",".join(self.protocols)] if self.protocols else []
        self.request(get, host, "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}", origin,
                     f"Sec-WebSocket-Version: {self.version}", cookie, *wanted)
        headers = self.head()
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        check("accept", headers["sec-websocket-accept"], base64.b64encode(accept).decode())
        self.check_protocol(headers, "sec-websocket-protocol")

    def send(self, text):
        payload = text.encode()
        self.connection.sendall(b"\0" + payload + b"\xff" if self.hixie else masked(0x81, payload))

    def receive(self):
        """The text of the next message, which has to be one frame; `None` for a closing frame."""
        first, = exactly(self.connection, 1)
        if self.hixie:
            if first == 0xFF:
                check("closing frame", exactly(self.connection, 1), b"\0")
                return None
            check("type of frame", first, 0)
            text = b""
            while not text.endswith(b"\xff"):
                text += exactly(self.connection, 1)
            return text[:-1].decode()
        second, = exactly(self.connection, 1)
        length = second & 0x7F
        if length > 125:
            length = int.from_bytes(exactly(self.connection, 2 if length == 126 else 8), "big")
        payload = exactly(self.connection, length)
        check("a server's frame has no mask", second & 0x80, 0)
        if first == 0x88:
            self.reason = payload
            return None
        check("one text frame", first, 0x81)
        return payload.decode()

    def check_end(self):
        check("end of the connection", self.connection.recv(1), b"")
        self.connection.close()

    def close(self):
        """`ws.close()`: version 75 just hangs up, 76 says so and hangs up, 8 and 13 await an answer to an empty close frame."""
        if not self.hixie:
            self.connection.sendall(masked(0x88, b""))
            check("answer to the close frame", self.receive(), None)
            check("its body", self.reason, b"")
            self.check_end()
        else:
            if self.version == 76:
                self.connection.sendall(b"\xff\0")
            self.connection.close()

    def closed_by_server(self):
        """`onclose`: the server's closing frame, answered, and then the end."""
        # Draft 75 knows no closing handshake.
        if self.version != 75:
            check("closing frame", self.receive(), None)
            self.connection.sendall(b"\xff\0" if self.hixie else masked(0x88, b""))
        self.check_end()


class BehindProxy(Bridge):
    """Version 76 with a proxy between that takes the eight bytes for a body, and passes them on only after the 101."""

    def open_76(self, get, host, cookie):
        lines, body, digest = self.challenge(get, host, cookie)
        self.request(*lines)
        headers = self.head()
        self.connection.sendall(body)
        self.check_76(headers, digest)


def key_of_76():
    """A number and the key that hides it: draft 76, section 4.1, items 16 to 21."""
    spaces = random.randint(1, 12)
    number = random.randint(0, 0xFFFFFFFF // spaces)
    key = list(str(number * spaces))
    noise = [chr(c) for c in (*range(0x21, 0x30), *range(0x3A, 0x7F))]
    for _ in range(random.randint(1, 12)):
        key.insert(random.randint(0, len(key)), random.choice(noise))
    for _ in range(spaces):
        key.insert(random.randint(1, len(key) - 1), " ")
    return number, "".join(key)


def masked(first, payload):
    key = os.urandom(4)
    size = len(payload)
    if size <= 125:
        length = bytes([0x80 | size])
    else:
        length = b"\xfe" + struct.pack(">H", size) if size <= 0xFFFF else b"\xff" + struct.pack(">Q", size)
    pad = int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return bytes([first]) + length + key + (int.from_bytes(payload, "big") ^ pad).to_bytes(size, "big")


def converse(version):
    for protocols in ((), ("chat",), ("superchat", "chat")):
        bridge = Bridge(version, protocols=protocols)
        bridge.send("hello")
        check("echo", bridge.receive(), "hello")
        bridge.close()
    bridge = Bridge(version)
    for text in TEXTS:
        bridge.send(text)
        check(f"echo of {len(text)} characters", bridge.receive(), text)
    for text in TEXTS[:5]:
        bridge.send(text)
    for text in TEXTS[:5]:
        check(f"echo of {len(text)} characters", bridge.receive(), text)
    bridge.close()
    bridge = Bridge(version, path="/")
    bridge.send("quit")
    bridge.closed_by_server()


echo, policy = map(address, sys.argv[1:])

for where in (policy, echo):
    for request in ([REQUEST], [bytes([byte]) for byte in REQUEST], [REQUEST[:-1]]):
        for read in (until_nul, in_one_read):
            answer = ask(where, request, read)
            check("an answer", answer is not None, True)
            check_policy(answer, echo[1])

play(echo, policy)
Bridge(76).close()
# A master port behind a firewall: it takes connections, and never answers. Then one that is closed.
with socket.create_server(("127.0.0.1", 0)) as silent:
    closed = silent.getsockname()
    play(echo, closed)
    Bridge(76).close()
play(echo, closed)
Bridge(13).close()

for version in (75, 76, 8, 13):
    converse(version)
for _ in range(200):
    Bridge(76).close()
proxied = BehindProxy(76, protocols=("superchat", "chat"))
proxied.send("hello")
check("echo behind a proxy", proxied.receive(), "hello")
proxied.close()
done("Flash player and web-socket-js")
