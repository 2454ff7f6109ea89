"""Python `websockets` against the server at the given ADDRESS:PORT."""

import asyncio
import sys

import websockets
from messages import BINARIES, PATIENCE, TEXTS, check, check_echo, done
from websockets.asyncio.client import connect

url = f"ws://{sys.argv[1]}/echo"


async def messages():
    async with connect(url, subprotocols=["chat", "superchat"], max_size=None) as ws:
        check("subprotocol", ws.subprotocol, "chat")
        for message in TEXTS + BINARIES:
            await ws.send(message)
            check_echo(await ws.recv(), message)
        # All at once, then all back in order: many frames a read, and reads that end within a frame.
        sending = asyncio.ensure_future(send_all(ws, TEXTS + BINARIES))
        for message in TEXTS + BINARIES:
            check_echo(await ws.recv(), message)
        await sending
        # The client ends such a message with an empty frame, which has to come back too.
        for fragments in (["Hel", "lo"], ["", "κόσ", "", "με"], [b"\x00", b"\xff" * 70000, b"x"]):
            await ws.send(fragments)
            back = [fragment async for fragment in ws.recv_streaming()]
            check("fragments", back, [*fragments, fragments[0][:0]])
        for payload in (b"", b"ping", bytes(125)):
            await (await ws.ping(payload))
            check(f"pong of {len(payload)} bytes", True, True)
        await ws.pong(b"nobody asked")
        await ws.send("after")
        check_echo(await ws.recv(), "after")


async def send_all(ws, messages):
    for message in messages:
        await ws.send(message)


async def endings():
    for code, reason in ((1000, ""), (1001, "going away"), (3000, "é" * 61), (4999, "bye")):
        async with connect(url) as ws:
            await ws.close(code, reason)
            back = ws.protocol.close_rcvd
            check("close code and reason", (back.code, back.reason), (code, reason))
    async with connect(url) as ws:
        await ws.send("quit")
        try:
            check("answer to quit", await ws.recv(), "a close frame")
        except websockets.ConnectionClosed as closed:
            check("close code after quit", (closed.rcvd.code, closed.rcvd_then_sent), (1000, True))
    try:
        async with connect(f"ws://{sys.argv[1]}/nowhere"):
            check("unknown path", 101, 404)
    except websockets.InvalidStatus as refusal:
        check("unknown path", refusal.response.status_code, 404)


async def main():
    await messages()
    await endings()


asyncio.run(asyncio.wait_for(main(), PATIENCE))
version = websockets.__version__
row = ("Python websockets", version, "13", "yes", "chat", "fragments, pings, close codes and reasons")
done(f"Python websockets {version}", row)
