// Node clients that say little about themselves, each behind one face. usage: small.js NAME ADDRESS:PORT
'use strict';
const { texts, binaries, check, events } = require('../../messages.js');

const [name, address] = process.argv.slice(2);
const url = `ws://${address}/echo`;

/** Of `ws` in its old majors, by their names in package.json. */
function ws(major) {
  const Socket = require(major);
  return {
    package: major,
    client: `Node ws ${major.slice(2)}`,
    async open() {
      const ws = new Socket(url, 'chat', { protocol: 'chat', maxPayload: 0 });
      const next = events(ws, ['open', 'message', 'close', 'error']);
      check('first event', (await next())[0], 'open');
      return {
        protocol: ws.protocol,
        deflate: Object.keys(ws.extensions).length > 0,
        send: (message) => ws.send(message),
        close: (code, reason) => ws.close(code, reason),
        next: async () => {
          const [event, data, more] = await next();
          return event === 'close' ? { code: data } : data;
        },
      };
    },
  };
}

const nodejsWebsocket = {
  package: 'nodejs-websocket',
  client: 'nodejs-websocket',
  async open() {
    const ws = require('nodejs-websocket').connect(url, { protocols: ['chat'] });
    const next = events(ws, ['connect', 'text', 'binary', 'close', 'error']);
    check('first event', (await next())[0], 'connect');
    return {
      protocol: ws.protocol,
      send: (message) => ws.send(message),
      close: (code, reason) => ws.close(code, reason),
      next: async () => {
        const [event, data] = await next();
        if (event === 'close') return { code: data };
        if (event === 'text') return data;
        const parts = [];
        for await (const part of data) parts.push(part);
        return Buffer.concat(parts);
      },
    };
  },
};

const websocket13 = {
  package: 'websocket13',
  client: 'Node websocket13',
  async open() {
    const { WebSocket } = require('websocket13');
    const ws = new WebSocket(url, { protocols: ['chat'] });
    const next = events(ws, ['connected', 'message', 'disconnected', 'error']);
    check('first event', (await next())[0], 'connected');
    return {
      protocol: ws.protocol,
      deflate: /permessage-deflate/.test(String(ws.extensions)),
      send: (message) => ws.send(message),
      close: (code, reason) => ws.disconnect(code, reason),
      next: async () => {
        const [event, first, data] = await next();
        return event === 'disconnected' ? { code: first } : data;
      },
    };
  },
};

async function main() {
  const { package: from, client, open } = { nodejsWebsocket, websocket13 }[name] ?? ws(name);
  const { version } = require(`${from}/package.json`);
  const ws1 = await open();
  for (const message of [...texts, ...binaries]) {
    ws1.send(message);
    const echo = await ws1.next();
    check('echo', Buffer.compare(Buffer.from(echo), Buffer.from(message)), 0);
  }
  ws1.close(4000, 'so long');
  const codes = [(await ws1.next()).code];
  const quit = await open();
  quit.send('quit');
  codes.push((await quit.next()).code);
  check('close codes', String(codes), '4000,1000');
  console.log([client, version, '13', ws1.deflate ? 'yes' : 'no', ws1.protocol || 'none', `close codes ${codes.join(', ')}`].join('\t'));
  process.exit(0);
}

main().catch((error) => {
  console.error(`${name}: ${error.stack}`);
  process.exit(1);
});
