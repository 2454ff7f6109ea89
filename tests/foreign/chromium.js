// Headless Chromium against the server at ADDRESS:PORT: the test page as a user drives it, then the browser's WebSocket,
// with compression and, at PLAIN-ADDRESS, without; the server's process is PID.
// usage: chromium.js ADDRESS:PORT PID PLAIN-ADDRESS:PORT SCREENSHOTS
'use strict';

const { launch } = require('./browser.js');
const { texts, binaries, conversation, memory, GROWTH, check, run } = require('./messages.js');

const [address, pid, plain, screenshots] = process.argv.slice(2);

/** Drives the page at `/`; the ids are those of src/pages/index.html. */
async function drive(browser) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(30_000);
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('requestfailed', (request) => errors.push(`${request.url()} failed`));
  const requests = [];
  page.on('request', (request) => requests.push(request.url()));
  const logged = (text, times = 1) =>
    page.waitForFunction(([text, times]) => document.querySelector('#log').textContent.split(text).length > times, [text, times]);
  const say = async (text) => {
    await page.fill('#message', text);
    await page.click('#send');
    await logged(`send: ${text}`);
  };

  const answer = await page.goto(`http://${address}/`);
  check('status of the page', answer.status(), 200);
  check('type of the page', answer.headers()['content-type'], 'text/html; charset=utf-8');
  const url = `ws://${address}/echo`;
  check('URL box', await page.inputValue('#url'), url);
  check('send is disabled', await page.isDisabled('#send'), true);

  await page.click('#connect');
  await logged(`connecting to ${url}...`);
  await logged('connection established.');
  check('connect is disabled', await page.isDisabled('#connect'), true);

  // Text from the peer is shown as text.
  for (const text of ['hello', 'κόσμε ✓ 😀', '<b id="evil">bold</b>']) {
    await say(text);
    await logged(`message received: '${text}'`);
  }
  check('elements made of messages', await page.locator('#evil').count(), 0);

  const before = await page.locator('#plot').screenshot();
  await page.fill('#message', 'again');
  await page.click('#every');
  await logged("message received: 'again'", 10);
  await page.click('#every');
  const after = await page.locator('#plot').screenshot();
  check('plot was drawn', before.equals(after), false);
  await page.screenshot({ path: `${screenshots}/page-light.png` });
  await page.emulateMedia({ colorScheme: 'dark' });
  await page.screenshot({ path: `${screenshots}/page-dark.png` });
  await page.emulateMedia({ colorScheme: 'light' });

  await page.click('#disconnect');
  await logged('closing connection..');
  await logged('connection closed.');
  check('disconnect is disabled', await page.isDisabled('#disconnect'), true);

  await page.click('#connect');
  await logged('connection established.', 2);
  await say('quit');
  await logged('connection closed.', 2);
  const log = await page.textContent('#log');
  check('quit is not echoed', log.includes("message received: 'quit'"), false);

  check('errors', errors.join('; '), '');
  const foreign = requests.filter((url) => url !== `http://${address}/` && !url.startsWith('data:'));
  check('other requests', foreign.join(' '), '');
  await page.close();
}

/** Runs in the browser: a connection, with everything it did as an array. */
async function talk({ url, protocols, messages, close }) {
  const ws = new WebSocket(url, protocols);
  ws.binaryType = 'arraybuffer';
  const events = [];
  return new Promise((resolve) => {
    const done = (end) => resolve({ protocol: ws.protocol, echoes: events, end });
    ws.onopen = () => messages.forEach((message) => ws.send(Array.isArray(message) ? new Uint8Array(message) : message));
    ws.onmessage = ({ data }) => {
      events.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
      if (events.length === messages.length && close) ws.close(...close);
    };
    ws.onclose = ({ code, reason, wasClean }) => done({ code, reason, wasClean });
  });
}

async function socket(browser) {
  const page = await browser.newPage();
  await page.goto(`http://${address}/`);
  const url = `ws://${address}/echo`;

  // Numbers and not bytes go through Playwright's protocol, so the largest are left to the other clients.
  const messages = [...texts, ...binaries.filter(({ length }) => length <= 65536).map((bytes) => [...bytes])];
  const all = await page.evaluate(talk, { url, protocols: ['chat', 'superchat'], messages, close: [4000, 'so long, κόσμε'] });
  check('subprotocol', all.protocol, 'chat');
  check('echoes', all.echoes.length, messages.length);
  messages.forEach((message, index) => check('echo', String(all.echoes[index]), String(message)));
  messages.forEach((message, index) => check('type of echo', typeof all.echoes[index], typeof message));
  check('end', JSON.stringify(all.end), '{"code":4000,"reason":"so long, κόσμε","wasClean":true}');

  const quit = await page.evaluate(talk, { url, protocols: [], messages: ['quit'] });
  check('echo of quit', quit.echoes.length, 0);
  check('code after quit', quit.end.code, 1000);
  check('clean end after quit', quit.end.wasClean, true);

  const nowhere = await page.evaluate(talk, { url: `ws://${address}/nowhere`, protocols: [], messages: [] });
  check('unknown path', nowhere.end.code, 1006);
  check('unknown page', await page.evaluate(async () => (await fetch('/nowhere')).status), 404);
}

/** Runs in the browser: sends messages, binary ones given in base64, and compares what comes back. */
async function echo({ url, messages }) {
  const decode = (base64) => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));
  const all = messages.map(({ text, base64 }) => text ?? decode(base64));
  const same = (got, want) =>
    typeof want === 'string' ? got === want : got.byteLength === want.length && new Uint8Array(got).every((byte, i) => byte === want[i]);
  const ws = new WebSocket(url);
  ws.binaryType = 'arraybuffer';
  let received = 0;
  let differing = 0;
  return new Promise((resolve) => {
    ws.onopen = () => all.forEach((message) => ws.send(message));
    ws.onmessage = ({ data }) => {
      if (!same(data, all[received++])) differing += 1;
      if (received === all.length) ws.close(4000);
    };
    ws.onclose = ({ code }) => resolve({ extensions: ws.extensions, received, differing, code });
  });
}

/** The browser compresses everything once that is agreed on. */
async function deflate(browser) {
  const page = await browser.newPage();
  await page.goto(`http://${address}/`);
  const messages = conversation(400).map((message) =>
    Buffer.isBuffer(message) ? { base64: message.toString('base64') } : { text: message },
  );
  const converse = async (where, count) => {
    const result = await page.evaluate(echo, { url: `ws://${where}/echo`, messages: messages.slice(0, count) });
    check('echoes', result.received, count);
    check('echoes that differ', result.differing, 0);
    check('code', result.code, 4000);
    return result.extensions;
  };
  check('extension', await converse(address, 100), 'permessage-deflate');
  const before = memory(pid);
  check('extension', await converse(address, 400), 'permessage-deflate');
  const grown = memory(pid) - before;
  check(`server grew by ${grown} KiB, less than ${GROWTH}`, grown < GROWTH, true);
  check('extension with --no-deflate', await converse(plain, 100), '');
  await page.close();
}

async function main() {
  const browser = await launch();
  try {
    await drive(browser);
    await socket(browser);
    await deflate(browser);
    return ['Chromium', browser.version(), '13', 'yes', 'chat', 'pages, boards, close codes and reasons, clean'];
  } finally {
    await browser.close();
  }
}

run('Chromium', main);
