// Node `ws` against the server at ADDRESS:PORT, speaking WebSocket VERSION (13 or 8).
// usage: node-ws.js ADDRESS:PORT VERSION
'use strict';

const WebSocket = require('ws');
const { texts, binaries, check, events, run } = require('./messages.js');

const [address, version] = process.argv.slice(2);
const wsVersion = require('ws/package.json').version;

async function connect(path, protocols) {
  const ws = new WebSocket(`ws://${address}${path}`, protocols, { protocolVersion: Number(version), origin: 'http://a.example' });
  const next = events(ws, ['open', 'message', 'pong', 'close', 'error']);
  const first = await next();
  return { ws, next, first };
}

async function open(protocols = []) {
  const { ws, next, first } = await connect('/echo', protocols);
  check('first event', first[0], 'open');
  return { ws, next };
}

async function main() {
  const { ws, next } = await open(['chat', 'superchat']);
  check('subprotocol', ws.protocol, 'chat');
  const echo = async (message, binary) => {
    const [event, data, isBinary] = await next();
    check('event', event, 'message');
    check('opcode is binary', isBinary, binary);
    check('echo', data, Buffer.from(message));
  };
  for (const message of texts) {
    ws.send(message);
    await echo(message, false);
  }
  for (const message of binaries) {
    ws.send(message);
    await echo(message, true);
  }
  // All at once, then all back in order.
  for (const message of [...texts, ...binaries]) ws.send(message);
  for (const message of texts) await echo(message, false);
  for (const message of binaries) await echo(message, true);

  const euro = Buffer.from('€');
  ws.send(euro.subarray(0, 2), { fin: false, binary: false });
  ws.send(euro.subarray(2), { fin: true });
  await echo('€', false);

  for (const payload of ['', 'ping', 'p'.repeat(125)]) {
    ws.ping(payload);
    const [event, data] = await next();
    check('event', event, 'pong');
    check('pong', data, Buffer.from(payload));
  }
  ws.pong('nobody asked');
  ws.close(4321, 'tschüß');
  let [event, code, reason] = await next();
  check('event', event, 'close');
  check('close code', code, 4321);
  check('close reason', reason.toString(), 'tschüß');

  const quit = await open();
  quit.ws.send('quit');
  [event, code] = await quit.next();
  check('event after quit', event, 'close');
  check('close code after quit', code, 1000);

  const nowhere = await connect('/nowhere', []);
  check('unknown path', nowhere.first[0] === 'error' && nowhere.first[1].message, 'Unexpected server response: 404');
  const deflate = ws.extensions === 'permessage-deflate' ? 'yes' : 'no';
  return ['Node ws', wsVersion, version, deflate, ws.protocol, 'fragments, pings, close codes and reasons'];
}

run(`Node ws ${wsVersion}, version ${version}`, main);
