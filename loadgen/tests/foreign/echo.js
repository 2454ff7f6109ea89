// An echo server by Node's ws, on a port of its own or at the path given, over TLS with a certificate and its key; says
// which on stdout.
const fs = require('fs')
const { WebSocketServer } = require('ws')

const [path, certificate, key] = process.argv.slice(2)
const page = (request, response) => response.writeHead(426).end('only WebSocket\n')
const listener = certificate
  ? require('https').createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, page)
  : require('http').createServer(page)
const server = new WebSocketServer({ server: listener })
server.on('connection', socket => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })))
if (path) listener.listen(path, () => console.log(path))
else listener.listen(0, '127.0.0.1', () => console.log(listener.address().port))
