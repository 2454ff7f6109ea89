"""ws4py's echo over gevent, as in the posts of 2012, on 127.0.0.1 at the port given."""

import sys

from gevent import monkey

monkey.patch_all()

from ws4py.server.geventserver import WSGIServer  # noqa: E402
from ws4py.server.wsgiutils import WebSocketWSGIApplication  # noqa: E402
from ws4py.websocket import EchoWebSocket  # noqa: E402

server = WSGIServer(("127.0.0.1", int(sys.argv[1])), WebSocketWSGIApplication(handler_cls=EchoWebSocket), backlog=4096, log=None)
server.serve_forever()
