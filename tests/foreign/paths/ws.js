// The npm package ws against a server at URL. usage: ws.js URL CASES
'use strict';

const WebSocket = require('ws');
const { PATIENCE } = require('./standard.js');

const [url, cases] = process.argv.slice(2);

function attempt(one) {
  const seen = [], started = Date.now();
  let opened = false, messages = 0, size = 0, why = '';
  const late = () => (one.late ? (Date.now() - started >= 0.95 * one.late ? ' late' : ' too early') : '');
  return new Promise((resolve) => {
    const base = `${one.user ? url.replace('//', `//${one.user}@`) : url}/ws/`;
    const socket = new WebSocket(base + one.path, one.protocols || [], { followRedirects: true, closeTimeout: 1000 });
    const end = (text) => {
      clearTimeout(stop);
      if (messages > 3) seen.push(`${messages} messages of ${size} bytes`);
      seen.push(text);
      socket.terminate();
      resolve(seen.join('; '));
    };
    const stop = setTimeout(() => end(one.ping ? 'open, no pong' : opened ? ['', 'open', 'still closing'][socket.readyState] : 'no answer'), PATIENCE);
    socket.on('upgrade', (response) => one.show === 'cookie' && seen.push(`header ${response.headers['set-cookie']}`));
    socket.on('open', () => {
      opened = true;
      if (one.show === 'protocol') seen.push(`subprotocol ${socket.protocol || 'none'}`);
      if (one.show === 'extensions') seen.push(socket.extensions || 'no extension');
      for (const text of one.say || []) socket.send(text);
      if (one.ping) socket.ping();
      if (one.until === 0) socket.close(1000);
    });
    socket.on('pong', () => end('pong'));
    socket.on('message', (data, isBinary) => {
      if (socket.readyState > 1) return;
      messages += 1;
      size = data.length;
      if (one.show === 'offer') seen.push(`offers ${JSON.parse(data).extensions.offered.join(', ') || 'no extension'}`);
      else if (!isBinary) seen.push(JSON.stringify(String(data)) + late());
      if (messages === one.until) socket.close(1000);
    });
    socket.on('error', (error) => { why = error.message; });
    socket.on('close', (code, reason) => {
      const how = `${opened ? 'closed' : 'failed'} ${code}${reason.length ? ` "${reason}"` : ''}`;
      end(how + (seen.some((each) => each.includes('late')) ? '' : late()) + (why ? `: ${why}` : ''));
    });
  });
}

Promise.all(JSON.parse(cases).map(attempt)).then((outcomes) => {
  console.log(JSON.stringify(outcomes));
  process.exit(0);
});
