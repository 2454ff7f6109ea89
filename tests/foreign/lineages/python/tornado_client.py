import asyncio
import sys

import tornado
from conversation import MESSAGES, check, done, echo
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect


async def main(address):
    url = f"ws://{address}/echo"
    ws = await websocket_connect(url, subprotocols=["chat"], compression_options={}, max_message_size=1 << 24)
    protocol = ws.selected_subprotocol
    deflate = "permessage-deflate" in ws.headers.get("Sec-WebSocket-Extensions", "")
    for message in MESSAGES:
        await ws.write_message(message, binary=isinstance(message, bytes))
        echo(await ws.read_message(), message)
    ws.close(4000, "so long")
    check("message after our own Close", await ws.read_message(), None)
    check("code of our own Close", ws.close_code, 4000)
    ws = await websocket_connect(HTTPRequest(url))
    await ws.write_message("quit")
    check("message after quit", await ws.read_message(), None)
    check("code after quit", ws.close_code, 1000)
    done("Python tornado", tornado.version, deflate, protocol, "close codes 4000, 1000")


asyncio.run(main(sys.argv[1]))
