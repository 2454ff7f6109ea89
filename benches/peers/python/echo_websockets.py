"""websockets' echo, on 127.0.0.1 at the port given, in TLS where a certificate and its key follow."""

import asyncio
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def echo(socket):
    try:
        async for message in socket:
            await socket.send(message)
    except ConnectionClosed:
        pass


async def main():
    port, *files = sys.argv[1:]
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    options = {"compression": None, "max_size": None, "backlog": 4096, "ping_interval": None, "ssl": context}
    async with serve(echo, "127.0.0.1", int(port), **options):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
