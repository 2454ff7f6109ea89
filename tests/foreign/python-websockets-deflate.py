"""Python `websockets` with permessage-deflate against the server at ADDRESS:PORT, whose process is PID; PLAIN-ADDRESS declines it.

usage: python-websockets-deflate.py ADDRESS:PORT PID PLAIN-ADDRESS:PORT
"""

import asyncio
import sys

import websockets
from messages import GROWTH, PATIENCE, check, check_echo, conversation, done, memory
from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory as Deflate

address, pid, plain = sys.argv[1:]
IN_FLIGHT = 8

NO_CONTEXT = "; server_no_context_takeover; client_no_context_takeover"
OFFERS = [
    ([Deflate()], "permessage-deflate"),
    ([Deflate(client_no_context_takeover=True)], "permessage-deflate"),
    ([Deflate(server_no_context_takeover=True)], f"permessage-deflate{NO_CONTEXT}"),
    ([Deflate(client_max_window_bits=None)], "permessage-deflate"),
    (
        [Deflate(server_max_window_bits=10, client_max_window_bits=True)],
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=10",
    ),
    (
        [Deflate(True, True, server_max_window_bits=12, client_max_window_bits=9)],
        f"permessage-deflate{NO_CONTEXT}; server_max_window_bits=12; client_max_window_bits=9",
    ),
    # What it offers first it would not do itself.
    ([Deflate(server_max_window_bits=8), Deflate()], "permessage-deflate"),
    # The first cannot be kept by who sends back what the client compressed; the second can.
    ([Deflate(server_max_window_bits=10, client_max_window_bits=None), Deflate()], "permessage-deflate"),
]


async def converse(ws, messages):
    """Whole and in fragments, several in flight; how much the server grew after the first hundred."""
    sent, before = [], None
    for i, message in enumerate([*messages, *[None] * IN_FLIGHT]):
        if message is not None:
            sent.append(message)
            quarter = len(message) // 4
            pieces = [message[:quarter], message[:0], message[quarter:]]
            await ws.send(pieces if i % 5 == 4 else message)
        if i >= IN_FLIGHT:
            check_echo(await ws.recv(), sent.pop(0))
        if i == 100:
            before = memory(pid)
    return memory(pid) - before


async def main():
    for offers, answer in OFFERS:
        async with connect(f"ws://{address}/echo", compression=None, extensions=offers, max_size=None) as ws:
            check("answer to the offers", ws.response.headers.get("Sec-WebSocket-Extensions"), answer)
            grown = await converse(ws, conversation(400))
            check(f"server grew by {grown} KiB, less than {GROWTH}", grown < GROWTH, True)
            await ws.close(4000, "so long")
            check("close code", ws.protocol.close_rcvd.code, 4000)
    for before in ([], ["hello", "κόσμε", "a" * 1000]):
        async with connect(f"ws://{address}/echo") as ws:
            check("compressed", "Sec-WebSocket-Extensions" in ws.response.headers, True)
            for message in before:
                await ws.send(message)
                check_echo(await ws.recv(), message)
            await ws.send("quit")
            try:
                check("answer to quit", await ws.recv(), "a close frame")
            except websockets.ConnectionClosed as closed:
                check("close code after quit", closed.rcvd.code, 1000)
    async with connect(f"ws://{plain}/echo") as ws:
        check("answer with --no-deflate", ws.response.headers.get("Sec-WebSocket-Extensions"), None)
        await converse(ws, conversation(120))


asyncio.run(asyncio.wait_for(main(), 3 * PATIENCE))
done(f"Python websockets {websockets.__version__}, permessage-deflate")
