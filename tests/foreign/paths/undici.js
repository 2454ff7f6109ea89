// undici's WebSocket, which is the one built into Node, against a server at URL. usage: undici.js URL CASES
'use strict';

const { WebSocket } = require('undici');
const { attempt } = require('./standard.js');

const [url, cases] = process.argv.slice(2);
Promise.all(JSON.parse(cases).map((one) => attempt(WebSocket, `${url}/ws/`, one))).then((outcomes) => {
  console.log(JSON.stringify(outcomes));
  process.exit(0);
});
