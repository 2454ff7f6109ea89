"""Qt's QtWebSockets against the server at ADDRESS:PORT, by its bindings for Python."""

import sys

from conversation import MESSAGES, check, done, echo
from PyQt5.QtCore import QT_VERSION_STR, QCoreApplication, QTimer, QUrl
from PyQt5.QtNetwork import QNetworkRequest
from PyQt5.QtWebSockets import QWebSocket, QWebSocketProtocol

app = QCoreApplication([])
closes = []


def failed(what):
    print(what, file=sys.stderr)
    app.exit(1)


def talk(messages, then):
    ws, left = QWebSocket("", QWebSocketProtocol.VersionLatest, app), list(messages)

    def say():
        message = left[0]
        ws.sendTextMessage(message) if isinstance(message, str) else ws.sendBinaryMessage(message)

    def heard(data):
        message = left.pop(0)
        if (data if isinstance(message, str) else bytes(data)) != message:
            return failed(f"another echo of {len(message)}")
        say() if left else ws.close(QWebSocketProtocol.CloseCodeGoingAway, "so long")

    def ended():
        closes.append(int(ws.closeCode()))
        then()

    ws.textMessageReceived.connect(heard)
    ws.binaryMessageReceived.connect(heard)
    ws.connected.connect(say)
    ws.disconnected.connect(ended)
    request = QNetworkRequest(QUrl(f"ws://{sys.argv[1]}/echo"))
    request.setRawHeader(b"Sec-WebSocket-Protocol", b"chat")
    ws.open(request)


talk(MESSAGES, lambda: talk(["quit"], app.quit))
QTimer.singleShot(60000, lambda: failed("nothing for a minute"))
if app.exec():
    sys.exit(1)
check("closes", closes, [1001, 1000])
done("QtWebSockets (PyQt5)", QT_VERSION_STR, False, "not told", "close codes 1001, 1000")
