"""Python clients that say little about themselves, each behind one face. usage: small.py NAME ADDRESS:PORT

A class opens with `open(url)`, offering the subprotocol "chat", and has `send`, `recv` (None once the connection is closed)
and `close`; `code` is the peer's close code as the client tells it, None where it does not. Each may be a coroutine.
"""

import asyncio
import contextlib
import importlib.metadata
import inspect
import sys

from conversation import MESSAGES, check, done, echo

LIMIT = 1 << 24


async def value(of):
    return await of if inspect.isawaitable(of) else of


class WebsocketsSync:
    name, package = "Python websockets, threads", "websockets"

    def open(self, url):
        from websockets.sync.client import connect

        self.ws = connect(url, subprotocols=["chat"], max_size=LIMIT, legacy=True)
        self.protocol, self.deflate = self.ws.subprotocol, bool(self.ws.protocol.extensions)

    def send(self, message):
        self.ws.send(message)

    def recv(self):
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            return self.ws.recv()

    def close(self):
        self.ws.close(4000, "so long")

    @property
    def code(self):
        return self.ws.protocol.close_rcvd.code


class WebsocketsLegacy:
    name, package = "Python websockets, legacy", "websockets"

    async def open(self, url):
        import warnings

        warnings.simplefilter("ignore", DeprecationWarning)
        from websockets.legacy.client import connect

        self.ws = await connect(url, subprotocols=["chat"], max_size=LIMIT)
        self.protocol, self.deflate = self.ws.subprotocol, bool(self.ws.extensions)

    def send(self, message):
        return self.ws.send(message)

    async def recv(self):
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            return await self.ws.recv()

    def close(self):
        return self.ws.close(4000, "so long")

    @property
    def code(self):
        return self.ws.close_rcvd.code


class Lomond:
    name, package, code = "Python lomond", "lomond", None

    def open(self, url):
        from lomond import WebSocket

        self.ws = WebSocket(url, protocols=["chat"], compress=True)
        self.events = self.ws.connect()
        ready = self.next("ready", "rejected", "connect_fail")
        self.protocol, self.deflate = ready.protocol, "permessage-deflate" in ready.extensions

    def next(self, *names):
        return next((event for event in self.events if event.name in names), None)

    def send(self, message):
        (self.ws.send_text if isinstance(message, str) else self.ws.send_binary)(message)

    def recv(self):
        event = self.next("text", "binary", "closed", "closing")
        if event is None or event.name.startswith("clos"):
            self.code = event and event.code
            return None
        return event.text if event.name == "text" else event.data

    def close(self):
        self.ws.close(4000, "so long")
        self.recv()


class SimpleWebsocket:
    name, package, deflate = "Python simple-websocket", "simple-websocket", False

    def open(self, url):
        from simple_websocket import Client

        self.ws = Client.connect(url, subprotocols=["chat"])
        self.protocol = self.ws.subprotocol

    def send(self, message):
        self.ws.send(message)

    def recv(self):
        from simple_websocket import ConnectionClosed

        try:
            return self.ws.receive()
        except ConnectionClosed as closed:
            self.code = closed.reason

    def close(self):
        self.ws.close(4000, "so long")
        self.code = None


class HttpxWs:
    name, package, deflate = "Python httpx-ws", "httpx-ws", False

    async def open(self, url):
        from httpx_ws import aconnect_ws

        self.stack = contextlib.AsyncExitStack()
        self.ws = await self.stack.enter_async_context(aconnect_ws(url, subprotocols=["chat"], max_message_size_bytes=LIMIT))
        self.protocol = self.ws.subprotocol

    def send(self, message):
        return self.ws.send_text(message) if isinstance(message, str) else self.ws.send_bytes(message)

    async def recv(self):
        from httpx_ws import WebSocketDisconnect

        try:
            data = (await self.ws.receive()).data
        except WebSocketDisconnect as closed:
            self.code = closed.code
            await self.stack.aclose()
        else:
            return bytes(data) if not isinstance(data, str) else data

    async def close(self):
        await self.ws.close(4000, "so long")
        await self.stack.aclose()
        self.code = None


class TrioWebsocket:
    name, package, deflate, loop = "Python trio-websocket", "trio-websocket", False, "trio"

    async def open(self, url):
        from trio_websocket import connect_websocket_url

        self.ws = await connect_websocket_url(self.nursery, url, subprotocols=["chat"], max_message_size=LIMIT)
        self.protocol = self.ws.subprotocol

    def send(self, message):
        return self.ws.send_message(message)

    async def recv(self):
        from trio_websocket import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            return await self.ws.get_message()

    def close(self):
        return self.ws.aclose(4000, "so long")

    @property
    def code(self):
        return self.ws.closed.code


class Aiosonic:
    name, package, deflate, code = "Python aiosonic", "aiosonic", False, None

    async def open(self, url):
        from aiosonic import WebSocketClient

        self.ws = await WebSocketClient().connect(url, subprotocols=["chat"], max_msg_size=None)
        self.protocol = self.ws.subprotocol

    def send(self, message):
        self.text = isinstance(message, str)
        return self.ws.send_text(message) if self.text else self.ws.send_bytes(message)

    async def recv(self):
        from aiosonic.exceptions import ConnectionDisconnected

        try:
            return await (self.ws.receive_text() if self.text else self.ws.receive_bytes())
        except ConnectionDisconnected:
            self.code = self.ws.close_code

    def close(self):
        return self.ws.close(4000, "so long")


class CurlCffi:
    name, package, deflate = "Python curl_cffi", "curl_cffi", False

    def open(self, url):
        import curl_cffi

        self.ws = curl_cffi.WebSocket()
        self.ws.connect(url, headers={"Sec-WebSocket-Protocol": "chat"})
        self.protocol = "not told"

    def send(self, message):
        (self.ws.send_str if isinstance(message, str) else self.ws.send_bytes)(message)

    def recv(self):
        from curl_cffi import CurlWsFlag
        from curl_cffi.requests.websockets import WebSocketError

        with contextlib.suppress(WebSocketError):
            data, flags = self.ws.recv()
            if not flags & CurlWsFlag.CLOSE:
                return data.decode() if flags & CurlWsFlag.TEXT else data

    def close(self):
        self.ws.close(4000, b"so long")

    @property
    def code(self):
        return self.ws.close_code


class Picows:
    name, package, deflate = "Python picows", "picows", False

    async def open(self, url):
        import picows

        self.queue, self.parts = asyncio.Queue(), b""
        outer = self

        class Listener(picows.WSListener):
            def on_ws_frame(self, transport, frame):
                if frame.msg_type == picows.WSMsgType.CLOSE:
                    outer.code = int(frame.get_close_code())
                    transport.send_close(frame.get_close_code())
                    transport.disconnect()
                    return
                outer.parts += frame.get_payload_as_bytes()
                if frame.msg_type != picows.WSMsgType.CONTINUATION:
                    outer.text = frame.msg_type == picows.WSMsgType.TEXT
                if frame.fin:
                    outer.queue.put_nowait(outer.parts.decode() if outer.text else outer.parts)
                    outer.parts = b""

            def on_ws_disconnected(self, transport):
                outer.queue.put_nowait(None)

        self.types = picows.WSMsgType
        self.ws, _ = await picows.ws_connect(Listener, url, extra_headers={"Sec-WebSocket-Protocol": "chat"})
        self.protocol = self.ws.response.headers.get("Sec-WebSocket-Protocol")

    def send(self, message):
        text = isinstance(message, str)
        self.ws.send(self.types.TEXT if text else self.types.BINARY, message.encode() if text else message)

    def recv(self):
        return self.queue.get()

    async def close(self):
        self.ws.send_close(4000, b"so long")
        await self.queue.get()


class Larzws:
    name, package, deflate, protocol = "Python larzws", "larzws", False, None

    def open(self, url):
        import larzws

        self.ws = larzws.connect(url)

    def send(self, message):
        self.ws.send(message)

    def recv(self):
        return self.ws.recv()

    def close(self):
        self.ws.close(4000)

    @property
    def code(self):
        return self.ws.close_code


async def converse(client, address):
    url = f"ws://{address}/echo"
    await value(client.open(url))
    for message in MESSAGES:
        await value(client.send(message))
        echo(await value(client.recv()), message)
    await value(client.close())
    closes = [client.code]
    await value(client.open(url))
    await value(client.send("quit"))
    check("message after quit", await value(client.recv()), None)
    closes.append(client.code)
    for code, want in zip(closes, (4000, 1000)):
        check(f"close code {code}", code in (want, None), True)
    told = [str(code) if code else "not told" for code in closes]
    done(client.name, importlib.metadata.version(client.package), client.deflate, client.protocol, f"close codes {', '.join(told)}")


async def nursed(client, address):
    import trio

    async with trio.open_nursery() as client.nursery:
        await converse(client, address)
        client.nursery.cancel_scope.cancel()


client = globals()[sys.argv[1]]()
if getattr(client, "loop", "asyncio") == "trio":
    import trio

    trio.run(nursed, client, sys.argv[2])
else:
    asyncio.run(converse(client, sys.argv[2]))
