"""A PROXY header of either version, and behind it TLS: in one write, and byte by byte. usage: proxied.py PORT AUTHORITY"""

import socket
import ssl
import sys

PORT, CA = int(sys.argv[1]), sys.argv[2]
HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.8 4711 443\r\n"
HEADER_2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 9, 192, 0, 2, 8]) + (4712).to_bytes(2, "big") + (443).to_bytes(2, "big")
REQUEST = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def converse(header, write):
    """`write` sends the header with the first flight behind it."""
    raw = socket.create_connection(("127.0.0.1", PORT), timeout=30)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context(cafile=CA).wrap_bio(incoming, outgoing, server_hostname="localhost")
    pending = header
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            write(raw, pending + outgoing.read())
            pending = b""
            incoming.write(raw.recv(65536) or sys.exit("an end in the handshake"))
    tls.write(REQUEST + b"\x81\x85keyy" + bytes(a ^ b for a, b in zip(b"hello", b"keyyk")))
    write(raw, outgoing.read())
    heard = b""
    while not heard.endswith(b"\x81\x05hello"):
        try:
            heard += tls.read(65536)
        except ssl.SSLWantReadError:
            incoming.write(raw.recv(65536) or sys.exit(f"an end behind {heard}"))
    raw.close()


def drip(raw, data):
    for byte in data:
        raw.sendall(bytes([byte]))


for header in (HEADER, HEADER_2):
    converse(header, lambda raw, data: raw.sendall(data))
    converse(header, drip)
