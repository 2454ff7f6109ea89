// npm `websocket` against the server at ADDRESS:PORT, speaking WebSocket VERSION (13 or 8).
// usage: node-websocket.js ADDRESS:PORT VERSION
'use strict';

const WebSocketClient = require('websocket').client;
const { texts, binaries, check, events, run } = require('./messages.js');

const [address, version] = process.argv.slice(2);

async function connect(path, protocols = [], options = {}) {
  const client = new WebSocketClient({ webSocketVersion: Number(version), ...options });
  const next = events(client, ['connect', 'connectFailed', 'httpResponse']);
  client.connect(`ws://${address}${path}`, protocols, 'http://a.example');
  return next();
}

async function open(protocols, options) {
  const [event, connection] = await connect('/echo', protocols, options);
  check('first event', event, 'connect');
  return { connection, next: events(connection, ['message', 'frame', 'pong', 'close', 'error']) };
}

async function messages() {
  // It cuts what it sends into fragments of 16 KiB.
  const { connection, next } = await open(['superchat', 'chat']);
  check('subprotocol', connection.protocol, 'superchat');
  const echo = async (message) => {
    const [event, back] = await next();
    check('event', event, 'message');
    check('type', back.type, Buffer.isBuffer(message) ? 'binary' : 'utf8');
    check('echo', back.utf8Data ?? back.binaryData, message);
  };
  for (const message of [...texts, ...binaries]) {
    connection.send(message);
    await echo(message);
  }
  for (const message of [...texts, ...binaries]) connection.send(message);
  for (const message of [...texts, ...binaries]) await echo(message);
  connection.ping('are you there?');
  const [event, data] = await next();
  check('event', event, 'pong');
  check('pong', data, Buffer.from('are you there?'));
  connection.close(1000);
  check('end', (await next())[0], 'close');
}

// With its assembly of messages switched off, it shows the frames as they come.
async function frames() {
  const { connection, next } = await open([], { assembleFragments: false, fragmentationThreshold: 1000 });
  const opcodes = { text: 1, continuation: 0 };
  const frame = async (opcode, fin, payload) => {
    const [event, back] = await next();
    check('event', event, 'frame');
    check('opcode', back.opcode, opcode);
    check('FIN', back.fin, fin);
    check('payload', back.binaryPayload, payload);
  };
  connection.sendUTF('é'.repeat(1250));
  const bytes = Buffer.from('é'.repeat(1250));
  await frame(opcodes.text, false, bytes.subarray(0, 1000));
  await frame(opcodes.continuation, false, bytes.subarray(1000, 2000));
  await frame(opcodes.continuation, true, bytes.subarray(2000));
  // Once told to close it parses nothing more, so the answer is read from below it.
  const answer = [];
  connection.socket.on('data', (data) => answer.push(data));
  connection.close(3999, 'so long');
  check('end', (await next())[0], 'close');
  check('close frame', Buffer.concat(answer), Buffer.from([0x88, 9, 3999 >> 8, 3999 & 255, ...Buffer.from('so long')]));
}

async function main() {
  await messages();
  await frames();

  const { connection, next } = await open();
  connection.send('quit');
  const [event, code] = await next();
  check('event after quit', event, 'close');
  check('close code after quit', code, 1000);

  const [answer, response] = await connect('/nowhere');
  check('unknown path', answer === 'httpResponse' && response.statusCode, 404);
  return ['npm websocket', require('websocket/package.json').version, version, 'no', 'superchat', 'fragments as they come, pings, close codes'];
}

run(`npm websocket ${require('websocket/package.json').version}, version ${version}`, main);
