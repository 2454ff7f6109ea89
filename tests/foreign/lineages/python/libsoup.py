"""libsoup 3 (GNOME) against the server at ADDRESS:PORT. Runs under the Python that Debian's python3-gi is for."""

import sys

import gi

gi.require_version("Soup", "3.0")
from conversation import MESSAGES, check, done, echo
from gi.repository import GLib, Soup

session, loop = Soup.Session(), GLib.MainLoop()
url = f"ws://{sys.argv[1]}/echo"
state = {}


def connect(opened):
    message = Soup.Message.new("GET", url)
    session.websocket_connect_async(message, None, ["chat"], 0, None, lambda session, result: opened(session.websocket_connect_finish(result)))


def converse(ws):
    state["ws"] = ws  # without a reference of ours it is gone
    ws.set_max_incoming_payload_size(0)
    left = list(MESSAGES)

    def say():
        message = left[0]
        kind = Soup.WebsocketDataType.TEXT if isinstance(message, str) else Soup.WebsocketDataType.BINARY
        ws.send_message(kind, GLib.Bytes.new(message.encode() if isinstance(message, str) else message))

    def hear(ws, kind, data):
        message = left.pop(0)
        data = data.get_data() or b""
        echo(data.decode() if kind == Soup.WebsocketDataType.TEXT else data, message)
        say() if left else ws.close(4000, "so long")

    def closed(ws):
        check("our own Close", ws.get_close_code(), 4000)
        state["agreed"] = ws.get_protocol(), [extension for extension in ws.get_extensions()]
        connect(quit)

    ws.connect("message", hear)
    ws.connect("closed", closed)
    say()


def quit(ws):
    state["quit"] = ws
    ws.connect("closed", lambda ws: (check("code after quit", ws.get_close_code(), 1000), loop.quit()))
    ws.send_text("quit")


GLib.timeout_add_seconds(60, lambda: sys.exit("libsoup: not done within a minute"))
connect(converse)
loop.run()
version = f"{Soup.get_major_version()}.{Soup.get_minor_version()}.{Soup.get_micro_version()}"
done("libsoup", version, state["agreed"][1], state["agreed"][0], "close codes 4000, 1000")
