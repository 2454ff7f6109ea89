// faye-websocket against the server at ADDRESS:PORT. usage: faye.js ADDRESS:PORT
'use strict';
const faye = require('faye-websocket');
const deflate = require('permessage-deflate');
const { texts, binaries, check } = require('../../messages.js');

const open = () => new faye.Client(`ws://${process.argv[2]}/echo`, ['chat'], { extensions: [deflate] });
const ws = open();
const left = [...texts, ...binaries];
let agreed = '';
ws.on('open', () => {
  agreed = ws.headers['sec-websocket-extensions'] ?? '';
  ws.send(left[0]);
});
ws.on('message', ({ data }) => {
  const message = left.shift();
  check('echo', Buffer.compare(Buffer.from(data), Buffer.from(message)), 0);
  if (left.length) ws.send(left[0]);
  else ws.close(4000, 'so long');
});
ws.on('close', ({ code }) => {
  check('our own Close', code, 4000);
  const quit = open();
  quit.on('open', () => quit.send('quit'));
  quit.on('close', ({ code }) => {
    check('code after quit', code, 1000);
    const version = require('faye-websocket/package.json').version;
    console.log(['Node faye-websocket', version, '13', agreed ? 'yes' : 'no', ws.protocol, 'close codes 4000, 1000'].join('\t'));
    process.exit(0);
  });
});
