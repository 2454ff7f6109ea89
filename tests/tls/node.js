// Node's TLS and `ws`, trusting the authority in a file. usage: node.js PORT AUTHORITY
'use strict';

const fs = require('node:fs');
const WebSocket = require('ws');
const { texts, binaries, check, run } = require('../foreign/messages.js');

const [port, authority] = process.argv.slice(2);

async function main() {
  const ws = new WebSocket(`wss://localhost:${port}/echo`, ['chat'], { ca: fs.readFileSync(authority) });
  const next = (event) => new Promise((resolve, reject) => { ws.once(event, (...values) => resolve(values)); ws.once('error', reject); });
  await next('open');
  check('subprotocol', ws.protocol, 'chat');
  for (const message of [...texts, ...binaries]) {
    ws.send(message);
    const [data] = await next('message');
    check('echo', data, Buffer.from(message));
  }
  ws.close(4000, 'so long');
  const [code] = await next('close');
  check('code', code, 4000);
}

run('Node ws over TLS', main);
