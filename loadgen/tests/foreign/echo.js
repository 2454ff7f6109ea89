// An echo server by Node's ws, on a port of its own or at the path given; says which on stdout.
const http = require('http')
const { WebSocketServer } = require('ws')

const listener = http.createServer((request, response) => response.writeHead(426).end('only WebSocket\n'))
const server = new WebSocketServer({ server: listener })
server.on('connection', socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })))
const path = process.argv[2]
if (path) listener.listen(path, () => console.log(path))
else listener.listen(0, '127.0.0.1', () => console.log(listener.address().port))
