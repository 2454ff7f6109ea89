"""An echo server by Python's websockets; says its port on stdout.

Whoever asks without what an option demands is refused, with what was asked in the answer's body.
"""

import argparse
import asyncio
import http

from websockets.asyncio.server import basic_auth, serve, unix_serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    options = argparse.ArgumentParser()
    options.add_argument("--unix", help="listen at this path")
    options.add_argument("--family", default="127.0.0.1", help="address to listen on")
    options.add_argument("--basic", help="USER:PASSWORD to ask for")
    options.add_argument("--subprotocol", help="the only one spoken")
    options.add_argument("--header", action="append", default=[], help="NAME: VALUE that has to come, once")
    given = options.parse_args()

    async def check(connection, request):
        for header in given.header:
            name, value = header.split(": ")
            if request.headers.get_all(name) != [value]:
                return connection.respond(http.HTTPStatus.FORBIDDEN, f"{name} {request.headers.get_all(name)}\n")
        if given.basic:
            user, password = given.basic.split(":", 1)
            return await basic_auth(realm="echo", credentials=(user, password))(connection, request)

    settings = dict(compression=None, process_request=check)
    if given.subprotocol:
        settings["subprotocols"] = [given.subprotocol]
    if given.unix:
        server = unix_serve(echo, given.unix, **settings)
    else:
        server = serve(echo, given.family, 0, **settings)
    async with server as server:
        print(given.unix or server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
