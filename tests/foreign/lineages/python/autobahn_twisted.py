import sys

import autobahn
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from conversation import MESSAGES, check, done, echo
from twisted.internet import reactor

closes, agreed, failed = [], [], []


class Client(WebSocketClientProtocol):
    def onConnect(self, response):
        agreed.append(response.protocol)

    def onOpen(self):
        self.left = list(self.factory.messages)
        self.say()

    def say(self):
        message = self.left[0]
        self.sendMessage(message if isinstance(message, bytes) else message.encode(), isinstance(message, bytes))

    def onMessage(self, payload, isBinary):
        message = self.left.pop(0)
        try:
            echo(bytes(payload) if isBinary else payload.decode(), message)
        except SystemExit as wrong:
            failed.append(wrong)
            reactor.stop()
            return
        self.say() if self.left else self.sendClose(4000, "so long")

    def onClose(self, wasClean, code, reason):
        closes.append((wasClean, code))
        dial(["quit"]) if len(closes) == 1 else reactor.stop()


def dial(messages):
    factory = WebSocketClientFactory(f"ws://{sys.argv[1]}/echo", protocols=["chat"])
    factory.protocol, factory.messages = Client, messages
    host, port = sys.argv[1].rsplit(":", 1)
    reactor.connectTCP(host, int(port), factory)


dial(MESSAGES)
reactor.callLater(60, reactor.stop)
reactor.run()
check("echoes", failed, [])
check("closes", closes, [(True, 4000), (True, 1000)])
done("Python autobahn, Twisted", autobahn.__version__, False, agreed[0], "close codes 4000, 1000, clean")
