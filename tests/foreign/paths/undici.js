// undici's WebSocket, which is the one built into Node, against ADDRESS:PORT. usage: undici.js ADDRESS:PORT CASES
'use strict';

const { WebSocket } = require('undici');
const { attempt } = require('./standard.js');

const [address, cases] = process.argv.slice(2);
Promise.all(JSON.parse(cases).map((one) => attempt(WebSocket, `ws://${address}/ws/`, one))).then((outcomes) => {
  console.log(JSON.stringify(outcomes));
  process.exit(0);
});
