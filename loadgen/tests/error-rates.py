"""A WebSocket echo whose replies are late by a known time, for error-rates: echo, fixed or exponential, milliseconds.

An echo does not wait for its time but works: so much longer than by itself each reply takes.
"""
import asyncio
import base64
import hashlib
import random
import sys
import time

KIND, MS = sys.argv[1], float(sys.argv[2])
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def answer(writer, header, payload):
    if KIND == "echo":
        until = time.perf_counter() + MS / 1e3
        while time.perf_counter() < until:
            pass
    writer.write(header + payload)


async def serve(reader, writer):
    loop = asyncio.get_running_loop()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(line[18:].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        while True:
            first, length = await reader.readexactly(2)
            length &= 127
            extended = b""
            if length == 126:
                extended = await reader.readexactly(2)
                length = int.from_bytes(extended, "big")
            mask = await reader.readexactly(4)
            payload = await reader.readexactly(length)
            if first & 15 == 8:
                break
            pad = (mask * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
            header = bytes([first, 126]) + extended if extended else bytes([first, length])
            delay = {"echo": 0, "fixed": MS / 1e3, "exponential": random.expovariate(1e3 / MS) if MS else 0}[KIND]
            if delay:
                loop.call_later(delay, answer, writer, header, payload)
            else:
                answer(writer, header, payload)
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/echo", flush=True)
    await server.serve_forever()


asyncio.run(main())
