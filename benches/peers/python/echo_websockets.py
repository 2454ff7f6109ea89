"""websockets' echo, on 127.0.0.1 at the port given."""

import asyncio
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
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), compression=None, max_size=None, backlog=4096, ping_interval=None):
        await asyncio.get_running_loop().create_future()


asyncio.run(main())
