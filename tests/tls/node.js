// Node's TLS and `ws`, trusting the authority in a file. usage: node.js PORT AUTHORITY
'use strict';

const fs = require('node:fs');
const WebSocket = require('ws');
const { texts, binaries, check, events, run } = require('../foreign/messages.js');

const [port, authority] = process.argv.slice(2);

async function main() {
  const ws = new WebSocket(`wss://localhost:${port}/echo`, ['chat'], { ca: fs.readFileSync(authority) });
  const next = events(ws, ['open', 'message', 'close', 'error']);
  const expect = async (name) => {
    const [event, ...values] = await next();
    check(`an event (${values})`, event, name);
    return values;
  };
  await expect('open');
  check('subprotocol', ws.protocol, 'chat');
  for (const message of [...texts, ...binaries]) {
    ws.send(message);
    const [data] = await expect('message');
    check('echo', data, Buffer.from(message));
  }
  ws.close(4000, 'so long');
  const [code] = await expect('close');
  check('code', code, 4000);
}

run('Node ws over TLS', main);
