"""ws4py's own client against the server at the given ADDRESS:PORT."""

import queue
import sys

import ws4py
from messages import BINARIES, PATIENCE, TEXTS, check, check_echo, done
from ws4py.client.threadedclient import WebSocketClient
from ws4py.exc import HandshakeError


class Client(WebSocketClient):
    """Puts what its thread receives where the test can wait for it."""

    def __init__(self, path="/echo", **options):
        super().__init__(f"ws://{sys.argv[1]}{path}", **options)
        self.received = queue.Queue()
        self.connect()

    def received_message(self, message):
        self.received.put(message.data.decode() if message.is_text else bytes(message.data))

    def ponged(self, pong):
        self.received.put(("pong", bytes(pong.data)))

    def closed(self, code, reason=None):
        self.received.put(("closed", code, reason))

    def next(self):
        return self.received.get(timeout=PATIENCE)


ws = Client(protocols=["http-only", "chat"])
check("subprotocol", ws.protocols, [b"http-only"])
for message in TEXTS:
    ws.send(message)
    check_echo(ws.next(), message)
for message in BINARIES:
    ws.send(message, binary=True)
    check_echo(ws.next(), message)
ws.send(part for part in ("κό", "σ", "με"))
check("fragments", ws.next(), "κόσμε")
ws.ping("are you there?")
check("pong", ws.next(), ("pong", b"are you there?"))
ws.close(1001, "bye bye")
check("close code and reason", ws.next(), ("closed", 1001, b"bye bye"))

ws = Client()
ws.send("quit")
check("close code after quit", ws.next()[:2], ("closed", 1000))

try:
    Client("/nowhere")
    check("unknown path", 101, 404)
except HandshakeError as refusal:
    check("unknown path", "404" in str(refusal), True)
row = ("Python ws4py", ws4py.__version__, "13", "no", "http-only", "fragments, pings, close codes")
done(f"ws4py {ws4py.__version__}", row)
