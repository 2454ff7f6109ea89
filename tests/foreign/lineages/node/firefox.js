// Firefox against the server at ADDRESS:PORT: the test page as a user drives it, two tabs on a board, and closing
// handshakes that the server begins, again and again: they have to be clean. usage: firefox.js ADDRESS:PORT ROUNDS
'use strict';

const puppeteer = require('puppeteer-core');
const { check } = require('../../messages.js');

const [address, rounds] = process.argv.slice(2);

/** Waits for what `shows` says in the tab: by asking again, since the pages allow no code that is made of text. */
async function until(tab, shows, argument) {
  for (const end = Date.now() + 30_000; !(await tab.evaluate(shows, argument));) {
    if (Date.now() > end) throw new Error(`in vain: ${shows} ${argument ?? ''}`);
    await new Promise((resolve) => { setTimeout(resolve, 50); });
  }
}

async function page(browser) {
  const page = await browser.newPage();
  await page.goto(`http://${address}/`);
  const logged = (text) => until(page, (text) => document.querySelector('#log').textContent.includes(text), text);
  await page.click('#connect');
  await logged('connection established.');
  await page.click('#send');
  await logged("message received: 'Hello, echo'");
  await page.evaluate(() => { document.querySelector('#message').value = 'κόσμε ✓ 😀'; });
  await page.click('#send');
  await logged("message received: 'κόσμε ✓ 😀'");
  // More than the page's own link can carry.
  await page.evaluate(() => { document.querySelector('#message').value = 'é'.repeat(1_500_000); });
  await page.click('#send');
  await logged("(1500000 characters)'");
  await page.click('#disconnect');
  await logged('connection closed. (1000');
  return page;
}

/** Runs in the browser: asks to be closed by the server so many times; how each ended. */
async function quits(url, rounds) {
  const ends = {};
  for (let round = 0; round < rounds; round += 1) {
    const end = await new Promise((resolve) => {
      const ws = new WebSocket(url, ['chat']);
      ws.onopen = () => ws.send('quit');
      ws.onclose = ({ code, wasClean }) => resolve(`${code} ${wasClean ? 'clean' : 'unclean'}`);
    });
    ends[end] = (ends[end] ?? 0) + 1;
  }
  return JSON.stringify(ends);
}

/** Runs in the browser: sizes, as text and as bytes. */
async function echoes(url) {
  const ws = new WebSocket(url, ['chat']);
  ws.binaryType = 'arraybuffer';
  await new Promise((resolve) => { ws.onopen = resolve; });
  for (const size of [0, 1, 125, 126, 65535, 65536, 1 << 20]) {
    for (const message of ['é'.repeat(size >> 1), new Uint8Array(size).fill(7)]) {
      const echo = new Promise((resolve) => { ws.onmessage = ({ data }) => resolve(data); });
      ws.send(message);
      const data = await echo;
      const same = typeof message === 'string' ? data === message : data.byteLength === size && new Uint8Array(data).every((byte) => byte === 7);
      if (!same) return `${typeof message} of ${size}`;
    }
  }
  return `${ws.protocol} ${ws.extensions}`;
}

async function board(browser) {
  const [one, two] = [await browser.newPage(), await browser.newPage()];
  for (const tab of [one, two]) await tab.goto(`http://${address}/board/firefox`);
  for (const tab of [one, two]) {
    await until(tab, () => document.querySelector('#participants').textContent === '2');
  }
}

async function main() {
  const browser = await puppeteer.launch({ browser: 'firefox', executablePath: '/usr/bin/firefox-esr', headless: true });
  try {
    const tab = await page(browser);
    check('echoes', await tab.evaluate(echoes, `ws://${address}/echo`), 'chat permessage-deflate');
    check('ends', await tab.evaluate(quits, `ws://${address}/echo`, Number(rounds)), `{"1000 clean":${rounds}}`);
    await board(browser);
    const version = (await browser.version()).replace(/^.*\//, '');
    console.log(['Firefox', version, '13', 'yes', 'chat', 'page, board, many closes by the server, all clean'].join('\t'));
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(error.stack);
  process.exit(1);
});
