// Headless Chromium: what the test page of the server at ADDRESS:PORT has for people who debug.
// usage: chromium-page.js ADDRESS:PORT SCREENSHOTS
'use strict';

const fs = require('node:fs');
const { borders, launch } = require('./browser.js');
const { check, run } = require('./messages.js');

const [address, screenshots] = process.argv.slice(2);
const errors = [];

/** The page at `/`, with what a link brings along. */
async function open(context, link = '') {
  const page = await context.newPage();
  page.setDefaultTimeout(100_000);
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  check('status of the page', (await page.goto(`http://${address}/${link}`)).status(), 200);
  return page;
}

/** Waits until the log has `text` so many times. */
const logged = (page, text, times = 1) =>
  page.waitForFunction(([text, times]) => document.querySelector('#log').textContent.split(text).length > times, [text, times]);

async function connected(page, times = 1) {
  await page.click('#connect');
  await logged(page, 'connection established.', times);
}

async function say(page, kind, message) {
  await page.selectOption('#as', kind);
  await page.fill('#message', message);
  await page.click('#send');
}

/** Opens the last hex view of the log, and reads it. */
async function dump(page) {
  const details = page.locator('#log details').last();
  await details.locator('summary').click();
  return details.locator('pre').textContent();
}

async function messages(page) {
  await page.fill('#protocols', 'chat, superchat');
  await connected(page);
  await logged(page, '(subprotocol chat, permessage-deflate)');
  check('agreed', await page.textContent('#agreed'), 'Agreed: subprotocol chat, permessage-deflate');

  await say(page, 'text', 'one\ntwo');
  await logged(page, "message received: 'one\ntwo'");
  await page.fill('#message', 'by the keyboard');
  await page.press('#message', 'Shift+Enter');
  await page.press('#message', 'Enter');
  await logged(page, "message received: 'by the keyboard\n'");

  // What reverses the direction of writing reverses it for the peer's words only.
  await say(page, 'text', '\u202Eevil');
  await logged(page, "message received: '\u202Eevil'");
  check('isolated', await page.locator('#log bdi', { hasText: 'evil' }).textContent(), '\u202Eevil');

  await say(page, 'hex', '0xde, ad:BE ef\n00');
  await logged(page, 'message received: 5 bytes');
  check('hex view', await dump(page), `000000  de ad be ef 00${' '.repeat(34)} .....`);
  await say(page, 'base64', 'SGVsbG8sIGhleCB2aWV3IQ==');
  await logged(page, 'message received: 16 bytes');
  check('hex view', await dump(page), '000000  48 65 6c 6c 6f 2c 20 68 65 78 20 76 69 65 77 21  Hello, hex view!');
  await say(page, 'hex', 'abc');
  await logged(page, 'cannot send: half a byte');
  await say(page, 'hex', 'no');
  await logged(page, 'cannot send: not hexadecimal digits');
  await say(page, 'base64', '!');
  await logged(page, 'cannot send: not base64');
  await page.selectOption('#as', 'file');
  await page.setInputFiles('#file', { name: 'data', mimeType: 'application/octet-stream', buffer: Buffer.alloc(70_000, 7) });
  await page.click('#send');
  await logged(page, 'message received: 70000 bytes');
  check('hex view of the beginning', (await dump(page)).endsWith('… 65904 more bytes'), true);
  await page.screenshot({ path: `${screenshots}/page-debug.png` });
}

async function closing(page) {
  await page.fill('#code', '4001');
  await page.fill('#reason', 'as chosen');
  await page.click('#disconnect');
  await logged(page, 'connection closed. (4001 private use) as chosen');
  await page.fill('#code', '1001');
  await connected(page, 2);
  await page.click('#disconnect');
  await logged(page, 'cannot close: ');
  await page.fill('#code', '');
  await page.click('#disconnect');
  await logged(page, 'connection closed. (1005 no code sent)');

  await page.fill('#url', 'foo bar');
  await page.click('#connect');
  await logged(page, `connecting to ws://${address}/foo%20bar...`);
  await logged(page, 'connection closed. (1006 no Close frame)');
  await page.fill('#url', `ws://${address}/echo`);
}

async function figures(page) {
  await connected(page, 3);
  check('statistics begin anew', await page.textContent('#count'), '');
  check('no figure yet', await page.textContent('#median'), '–');
  await page.selectOption('#as', 'text');
  await page.fill('#message', 'tick');
  await page.fill('#period', '1');
  await page.click('#every');
  check('the button stops', await page.textContent('#every'), 'Stop');
  await page.waitForFunction(() => /ms/.test(document.querySelector('#median').textContent));
  const early = await page.evaluate(() => {
    trips = trips.slice(0, 99);
    plot();
    return document.querySelector('#p99').textContent;
  });
  check('p99 of 99', early, '–');
  await page.waitForFunction(() => / ms$/.test(document.querySelector('#p99').textContent));
  await page.click('#every');
  check('the button starts', await page.textContent('#every'), 'Send every');

  // However much is sent at once, the page is laid out once a frame.
  const [before, after] = await page.evaluate(() => {
    print();
    const lines = () => document.querySelector('#log').childElementCount;
    const before = lines();
    for (let each = 0; each < 10_000; each += 1) send();
    return [before, lines()];
  });
  check('lines added in a loop', after, before);
  await page.waitForFunction(() => /^(\d+) sent, \1 received$/.test(document.querySelector('#count').textContent) && received > 10_000);
  check('lines kept', await page.evaluate(() => document.querySelector('#log').childElementCount), 500);

  await page.check('#again');
  await say(page, 'text', 'quit');
  await logged(page, 'next try in 0.5 s');
  await logged(page, 'connection established.');
  await page.click('#disconnect');
  await logged(page, 'connection closed. (1005');
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 1000)));
  check('no reconnection that nobody wants', await page.textContent('#state'), 'not connected');
}

async function tools(context, page) {
  await page.click('#clear');
  check('cleared', await page.textContent('#log'), '');
  await page.uncheck('#again');
  await connected(page);
  await say(page, 'hex', '6869');
  await logged(page, 'message received: 2 bytes');
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: `http://${address}` });
  await page.click('#copy');
  await page.waitForFunction(() => document.querySelector('#copy').textContent === 'Copied');
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  check('copied', /: connecting to ws:.*\n.*established.*\n.*send: 2 bytes\n000000 {2}68 69 .* hi\n.*received: 2 bytes/.test(copied), true);
  const [download] = await Promise.all([page.waitForEvent('download'), page.click('#save')]);
  check('saved', fs.readFileSync(await download.path(), 'utf8'), copied);
  check('status role', await page.getAttribute('#state', 'role'), 'status');

  // A reload keeps what was typed; a link fills in, and neither connects nor sends.
  await page.fill('#message', 'caf\u00e9 & more');
  await page.selectOption('#as', 'text');
  await page.reload();
  check('message after a reload', await page.inputValue('#message'), 'caf\u00e9 & more');
  check('subprotocols after a reload', await page.inputValue('#protocols'), 'chat, superchat');
  const shared = await open(context, '?url=wss%3A%2F%2Fexample.org%2Fx%3Fa%3Db#as=hex&message=00+ff&period=5&as=file&%');
  check('URL of a link', await shared.inputValue('#url'), 'wss://example.org/x?a=b');
  check('message of a link', await shared.inputValue('#message'), '00 ff');
  check('kind of a link', await shared.inputValue('#as'), 'hex');
  await shared.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  check('state after a link', await shared.textContent('#state'), 'not connected');
  check('log after a link', await shared.textContent('#log'), '');
}

/// On a phone nothing is squeezed: the mark has its size, each link and the count of messages have one line.
async function phone(browser) {
  const context = await browser.newContext({ viewport: { width: 375, height: 700 }, isMobile: true, hasTouch: true });
  const page = await open(context);
  await page.tap('#connect');
  await page.waitForSelector('#send:enabled');
  await page.tap('#send');
  await page.waitForFunction(() => document.querySelector('#count').textContent.includes('1 received'));
  const [width, mark, lines] = await page.evaluate(() => [
    document.documentElement.scrollWidth,
    document.querySelector('header svg').getBoundingClientRect().width,
    [...document.querySelectorAll('header a, #count, #trips-title')].map((each) => {
      const range = document.createRange();
      range.selectNodeContents(each);
      return range.getClientRects().length;
    }).join(),
  ]);
  check('as wide as the screen', width, 375);
  check('the mark', mark > 20, true);
  check('lines of each', lines, '1,1,1,1');
  await page.screenshot({ path: `${screenshots}/page-phone.png` });
  await context.close();
}

async function main() {
  const browser = await launch();
  try {
    await phone(browser);
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 } });
    const page = await open(context);
    await messages(page);
    await closing(page);
    await figures(page);
    await tools(context, page);
    await borders(page, '#url');
    const refused = errors.filter((error) => !error.includes('/foo%20bar')); // the browser itself reports what it could not open
    check('errors', refused.join('; '), '');
  } finally {
    await browser.close();
  }
}

run('Chromium, the test page for people who debug', main);
