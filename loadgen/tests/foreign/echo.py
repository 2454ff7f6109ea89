"""An echo server by Python's websockets; says its port on stdout.

Whoever asks without what an option demands is refused, with what was asked in the answer's body.
"""

import argparse
import asyncio
import http
import ssl

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
    options.add_argument("--tls", help="CERTIFICATE,KEY in PEM")
    options.add_argument("--tls-version", choices=["1.2", "1.3"], help="the only one spoken")
    options.add_argument("--client-ca", help="clients show a certificate by this")
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
    if given.tls:
        settings["ssl"] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*given.tls.split(","))
        if given.tls_version:
            version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[given.tls_version]
            context.minimum_version = context.maximum_version = version
        if given.client_ca:
            context.load_verify_locations(given.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
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
