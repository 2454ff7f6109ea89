import select
import struct
import sys

import pycurl
from conversation import MESSAGES, check, done, echo


class Client:
    """libcurl's ws_send and ws_recv, by way of CONNECT_ONLY 2."""

    def __init__(self, address):
        self.headers = []
        self.curl = pycurl.Curl()
        self.curl.setopt(pycurl.URL, f"ws://{address}/echo")
        self.curl.setopt(pycurl.CONNECT_ONLY, 2)
        self.curl.setopt(pycurl.HTTPHEADER, ["Sec-WebSocket-Protocol: chat"])
        self.curl.setopt(pycurl.HEADERFUNCTION, lambda line: self.headers.append(line.decode("latin-1").strip()))
        self.curl.perform()
        self.socket = self.curl.getinfo(pycurl.ACTIVESOCKET)

    def wait(self, write=False):
        ready = select.select([self.socket], [self.socket] if write else [], [], 30)
        check("ready in time", ready != ([], [], []), True)

    def send(self, data, flags):
        while True:
            try:
                sent = self.curl.ws_send(data, flags)
            except BlockingIOError:
                self.wait(write=True)
                continue
            if sent >= len(data):
                return
            data = data[sent:]

    def receive(self):
        """A whole message, and the flags of its last piece."""
        whole = b""
        while True:
            try:
                data, meta = self.curl.ws_recv(1 << 16)
            except BlockingIOError:
                self.wait()
                continue
            whole += data
            if meta.bytesleft == 0 and not meta.flags & pycurl.WS_CONT:
                return whole, meta.flags


client = Client(sys.argv[1])
protocol = next((line.split(": ")[1] for line in client.headers if line.lower().startswith("sec-websocket-protocol")), None)
for message in MESSAGES:
    if isinstance(message, str):
        client.send(message.encode(), pycurl.WS_TEXT)
        echo(client.receive()[0].decode(), message)
    else:
        client.send(message, pycurl.WS_BINARY)
        echo(client.receive()[0], message)
client.send(struct.pack("!H", 4000) + b"so long", pycurl.WS_CLOSE)
check("our own Close", client.receive()[0], struct.pack("!H", 4000) + b"so long")
quit = Client(sys.argv[1])
quit.send(b"quit", pycurl.WS_TEXT)
check("code after quit", quit.receive()[0][:2], struct.pack("!H", 1000))
done("libcurl (pycurl)", pycurl.version_info()[1], False, protocol, "close codes 4000, 1000")
