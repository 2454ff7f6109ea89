import socket
import sys

import wsproto
from conversation import MESSAGES, check, done, echo
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Message, Request, TextMessage
from wsproto.extensions import PerMessageDeflate


class Client:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.ws = WSConnection(ConnectionType.CLIENT)
        self.events = []
        self.send(Request(host=address, target="/echo", subprotocols=["chat"], extensions=[PerMessageDeflate()]))
        self.accepted = self.next()
        check("answer", type(self.accepted), AcceptConnection)

    def send(self, event):
        self.socket.sendall(self.ws.send(event))

    def next(self):
        while not self.events:
            self.ws.receive_data(self.socket.recv(1 << 16) or None)
            self.events = list(self.ws.events())
        return self.events.pop(0)

    def message(self):
        whole = None
        while True:
            event = self.next()
            if not isinstance(event, (TextMessage, BytesMessage)):
                sys.exit(f"no message but {event}")
            whole = event.data if whole is None else whole + event.data
            if event.message_finished:
                return whole if isinstance(whole, str) else bytes(whole)


client = Client(sys.argv[1])
for message in MESSAGES:
    client.send(Message(data=message))
    echo(client.message(), message)
client.send(CloseConnection(code=4000, reason="so long"))
closed = client.next()
check("our own Close", (closed.code, closed.reason), (4000, "so long"))
quit = Client(sys.argv[1])
quit.send(Message(data="quit"))
check("code after quit", quit.next().code, 1000)
done("Python wsproto", wsproto.__version__, client.accepted.extensions, client.accepted.subprotocol, "close codes 4000, 1000")
