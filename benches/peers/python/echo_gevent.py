"""gevent-websocket's echo, as in the posts of 2010, on 127.0.0.1 at the port given."""

import sys

from gevent.pywsgi import WSGIServer
from geventwebsocket.exceptions import WebSocketError
from geventwebsocket.handler import WebSocketHandler


def echo(environ, _):
    socket = environ["wsgi.websocket"]
    try:
        while (message := socket.receive()) is not None:
            socket.send(message)
    except WebSocketError:
        pass
    return []


WSGIServer(("127.0.0.1", int(sys.argv[1])), echo, backlog=4096, log=None, handler_class=WebSocketHandler).serve_forever()
