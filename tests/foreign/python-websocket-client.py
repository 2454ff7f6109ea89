"""Python `websocket-client` against the server at the given ADDRESS:PORT. It shows single frames, so these are compared."""

import sys
from concurrent.futures import ThreadPoolExecutor

import websocket
from messages import BINARIES, PATIENCE, TEXTS, check, check_echo, done
from websocket import ABNF

url = f"ws://{sys.argv[1]}/echo"
websocket.setdefaulttimeout(PATIENCE)

# Sends while the main thread receives: the server reads nothing from a client that does not take its answers.
sender = ThreadPoolExecutor(1)


def echo(ws, send, message):
    sending = sender.submit(send, message)
    check_echo(ws.recv(), message)
    sending.result()


def frames(ws, *sent):
    """Sends frames, each (opcode, FIN, payload), and checks that the same come back."""
    sending = [sender.submit(ws.send_frame, ABNF.create_frame(payload, opcode, fin)) for opcode, fin, payload in sent]
    for frame in sent:
        got = ws.recv_frame()
        check("frame", (got.opcode, got.fin, bytes(got.data)), frame)
    for one in sending:
        one.result()


ws = websocket.create_connection(url, subprotocols=["superchat", "chat"])
check("subprotocol", ws.getsubprotocol(), "superchat")
for message in TEXTS:
    echo(ws, ws.send, message)
for message in BINARIES:
    echo(ws, ws.send_binary, message)

frames(ws, (ABNF.OPCODE_TEXT, 0, b"\xe2\x82"), (ABNF.OPCODE_CONT, 1, b"\xac"))
frames(ws, (ABNF.OPCODE_TEXT, 0, b""), (ABNF.OPCODE_CONT, 0, b""), (ABNF.OPCODE_CONT, 1, b""))
# A fragment is not the text message `quit`.
frames(ws, (ABNF.OPCODE_TEXT, 0, b"quit"), (ABNF.OPCODE_CONT, 1, b"!"))
frames(ws, (ABNF.OPCODE_BINARY, 0, b"a"), (ABNF.OPCODE_CONT, 0, bytes(65536)), (ABNF.OPCODE_CONT, 1, b"c"))
ws.ping("between")
pong = ws.recv_frame()
check("pong", (pong.opcode, bytes(pong.data)), (ABNF.OPCODE_PONG, b"between"))
ws.send_frame(ABNF.create_frame(b"Hel", ABNF.OPCODE_TEXT, 0))
ws.ping("amid")
ws.send_frame(ABNF.create_frame(b"lo", ABNF.OPCODE_CONT, 1))
back = [(frame.opcode, bytes(frame.data)) for frame in (ws.recv_frame(), ws.recv_frame(), ws.recv_frame())]
check("ping amid fragments", back, [(ABNF.OPCODE_TEXT, b"Hel"), (ABNF.OPCODE_PONG, b"amid"), (ABNF.OPCODE_CONT, b"lo")])
ws.send_close(4000, "so long".encode())
back = ws.recv_frame()
check("close code and reason", (back.opcode, bytes(back.data)), (ABNF.OPCODE_CLOSE, (4000).to_bytes(2, "big") + b"so long"))
ws.shutdown()

ws = websocket.create_connection(url)
ws.send("quit")
back = ws.recv_frame()
check("answer to quit", (back.opcode, bytes(back.data)[:2]), (ABNF.OPCODE_CLOSE, (1000).to_bytes(2, "big")))
ws.shutdown()

try:
    websocket.create_connection(f"ws://{sys.argv[1]}/nowhere")
    check("unknown path", 101, 404)
except websocket.WebSocketBadStatusException as refusal:
    check("unknown path", refusal.status_code, 404)
version = websocket.__version__
row = ("Python websocket-client", version, "13", "no", "superchat", "fragments, pings, close codes and reasons")
done(f"Python websocket-client {version}", row)
