// ws' echo, on 127.0.0.1 at the port given, in TLS where a certificate and its key follow.
const { readFileSync } = require('fs');
const { createServer } = require('https');
const { WebSocketServer } = require('ws');

const [port, cert, key] = process.argv.slice(2);
const where = { host: '127.0.0.1', port: Number(port), backlog: 4096 };
const secure = cert && createServer({ cert: readFileSync(cert), key: readFileSync(key) });
const server = new WebSocketServer(secure ? { server: secure } : where);
if (secure) secure.listen(where);
server.on('connection', (socket) => {
  socket.on('error', () => socket.terminate());
  socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }));
});
