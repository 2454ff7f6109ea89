// Node `ws` with permessage-deflate against the server at ADDRESS:PORT, whose process is PID; PLAIN-ADDRESS declines it.
// usage: node-ws-deflate.js ADDRESS:PORT PID PLAIN-ADDRESS:PORT
'use strict';

const WebSocket = require('ws');
const { conversation, memory, GROWTH, check, events, run } = require('./messages.js');

const [address, pid, plain] = process.argv.slice(2);

/** Parameters offered, and the answer to them. */
const offers = [
  [{}, 'permessage-deflate'],
  [{ clientNoContextTakeover: true }, 'permessage-deflate'],
  [{ serverNoContextTakeover: true }, 'permessage-deflate; server_no_context_takeover; client_no_context_takeover'],
  [{ serverMaxWindowBits: 10 }, 'permessage-deflate; server_max_window_bits=10; client_max_window_bits=10'],
  [{ serverMaxWindowBits: 12, clientMaxWindowBits: 9 }, 'permessage-deflate; server_max_window_bits=12; client_max_window_bits=9'],
  [{ clientMaxWindowBits: 9 }, 'permessage-deflate'],
  [
    { serverNoContextTakeover: true, clientNoContextTakeover: true, serverMaxWindowBits: 11 },
    'permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=11',
  ],
  // Our window is the client's own, so it cannot be bounded unless the client's can.
  [{ serverMaxWindowBits: 10, clientMaxWindowBits: false }, undefined],
];

async function open(where, parameters) {
  const ws = new WebSocket(`ws://${where}/echo`, { perMessageDeflate: { threshold: 0, ...parameters } });
  const next = events(ws, ['upgrade', 'open', 'message', 'close', 'error']);
  const [event, response] = await next();
  check('first event', event, 'upgrade');
  check('second event', (await next())[0], 'open');
  return { ws, next, agreed: response.headers['sec-websocket-extensions'] };
}

/** Whole and in fragments, compressed and not, several in flight; how much the server grew after the first hundred. */
async function converse(ws, next, messages) {
  const IN_FLIGHT = 8;
  const send = (message, i) => {
    const options = { binary: Buffer.isBuffer(message), compress: i % 3 !== 2 };
    if (i % 5 !== 4) return ws.send(message, options);
    const bytes = Buffer.from(message);
    const cuts = [0, bytes.length >> 2, bytes.length >> 2, bytes.length];
    cuts.slice(1).forEach((cut, part) => ws.send(bytes.subarray(cuts[part], cut), { ...options, fin: part === 2 }));
  };
  let before;
  for (let i = 0; i < messages.length + IN_FLIGHT; i++) {
    if (i < messages.length) send(messages[i], i);
    if (i < IN_FLIGHT) continue;
    const message = messages[i - IN_FLIGHT];
    const [event, data, isBinary] = await next();
    check('event', event, 'message');
    check('opcode is binary', isBinary, Buffer.isBuffer(message));
    check(`echo ${i - IN_FLIGHT}`, data, Buffer.from(message));
    if (i === 100) before = memory(pid);
  }
  return memory(pid) - before;
}

async function quit(where, parameters, before) {
  const { ws, next } = await open(where, parameters);
  for (const message of before) {
    ws.send(message);
    await next();
  }
  ws.send('quit');
  const [event, code] = await next();
  check('event after quit', event, 'close');
  check('close code after quit', code, 1000);
}

async function main() {
  for (const [parameters, answer] of offers) {
    const { ws, next, agreed } = await open(address, parameters);
    check(`answer to ${JSON.stringify(parameters)}`, agreed, answer);
    const grown = await converse(ws, next, conversation(400));
    check(`server grew by ${grown} KiB, less than ${GROWTH}`, grown < GROWTH, true);
    ws.close(4000);
    check('close code', (await next())[1], 4000);
  }
  for (const parameters of [{}, { serverNoContextTakeover: true }, { clientNoContextTakeover: true }]) {
    await quit(address, parameters, []);
    await quit(address, parameters, ['hello', 'κόσμε', 'a'.repeat(1000)]);
  }
  const declined = await open(plain, {});
  check('answer with --no-deflate', declined.agreed, undefined);
  await converse(declined.ws, declined.next, conversation(120));
  await quit(plain, {}, []);
}

run(`Node ws ${require('ws/package.json').version}, permessage-deflate`, main);
