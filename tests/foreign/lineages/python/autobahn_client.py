import asyncio
import sys

import autobahn
from autobahn.asyncio.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.compress import (
    PerMessageDeflateOffer,
    PerMessageDeflateResponse,
    PerMessageDeflateResponseAccept,
)
from conversation import MESSAGES, check, done, echo

host, port = sys.argv[1].rsplit(":", 1)
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
agreed = []


class Client(WebSocketClientProtocol):
    def onConnect(self, response):
        agreed.append((response.protocol, bool(response.extensions)))

    def onOpen(self):
        self.left = list(self.factory.messages)
        self.say()

    def say(self):
        message = self.left[0]
        self.sendMessage(message if isinstance(message, bytes) else message.encode(), isinstance(message, bytes))

    def onMessage(self, payload, isBinary):
        message = self.left.pop(0)
        echo(bytes(payload) if isBinary else payload.decode(), message)
        if self.left:
            self.say()
        else:
            self.sendClose(4000, "so long")

    def onClose(self, wasClean, code, reason):
        self.factory.closed.set_result((wasClean, code))


async def converse(messages):
    factory = WebSocketClientFactory(f"ws://{sys.argv[1]}/echo", protocols=["chat"])
    factory.setProtocolOptions(
        perMessageCompressionOffers=[PerMessageDeflateOffer()],
        perMessageCompressionAccept=lambda response: isinstance(response, PerMessageDeflateResponse)
        and PerMessageDeflateResponseAccept(response),
    )
    factory.protocol, factory.messages, factory.closed = Client, messages, loop.create_future()
    await loop.create_connection(factory, host, int(port))
    return await asyncio.wait_for(factory.closed, 60)


check("our own Close", loop.run_until_complete(converse(MESSAGES)), (True, 4000))
check("after quit", loop.run_until_complete(converse(["quit"])), (True, 1000))
done("Python autobahn", autobahn.__version__, agreed[0][1], agreed[0][0], "close codes 4000, 1000, clean")
