// Headless Chromium: the page that builds failures, of the server at ADDRESS:PORT. usage: chromium-paths.js ADDRESS:PORT SCREENSHOTS
'use strict';

const { launch } = require('./browser.js');
const { check, run } = require('./messages.js');

const [address, screenshots] = process.argv.slice(2);
const errors = [];

async function open(context) {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => errors.push(String(error)));
  check('status of the page', (await page.goto(`http://${address}/ws`)).status(), 200);
  return page;
}

/** Waits until the log has `text`. */
const logged = (page, text) =>
  page.waitForFunction((text) => document.querySelector('#log').textContent.includes(text), text);

const url = (page) => page.inputValue('#url');

/** What the page begins with is a chain that works, and says each of its steps in the log. */
async function first(page) {
  check('URL', await url(page), `ws://${address}/ws/message/hello/after/1/close/4000?reason=bye`);
  await page.click('#connect');
  await logged(page, 'text: hello');
  await page.fill('#message', 'back');
  await page.click('#send');
  await logged(page, 'text: back');
  await logged(page, 'closed: 4000, clean bye');
}

/** The builder: steps are added in front of a last one, filled in, moved and taken out. */
async function builder(page) {
  while (await page.locator('#chain li').count()) await page.click('#chain li:last-child button:text("remove")');
  check('URL of nothing', await url(page), `ws://${address}/ws`);
  await page.selectOption('#add', 'close');
  await page.selectOption('#add', 'message');
  await page.selectOption('#add', 'header');
  check('last stays last', await url(page), `ws://${address}/ws/message/hello/header/Set-Cookie/a%3Db/close/4000?reason=bye`);
  await page.fill('[aria-label="message: text"]', 'a b/c');
  await page.click('#chain li:nth-child(2) button:text("up")');
  check('filled in and moved', await url(page), `ws://${address}/ws/header/Set-Cookie/a%3Db/message/a%20b%2Fc/close/4000?reason=bye`);
  await page.selectOption('#add', 'redirect-to');
  check('two queries', (await url(page)).split('/close/4000')[1], '?url=%2Fecho&reason=bye');
  await page.click('#chain li:nth-child(3) button:text("remove")');
  await page.fill('[aria-label="close: code"]', '');
  check('a reason without a code', await page.textContent('#problem'), 'close is missing its <code>.');
  await page.fill('[aria-label="close: reason"]', '');
  check('an empty Close', await url(page), `ws://${address}/ws/header/Set-Cookie/a%3Db/message/a%20b%2Fc/close`);
  await page.fill('[aria-label="header: name"]', '');
  check('complaint', await page.textContent('#problem'), 'header is missing its <name>.');
  await page.fill('#url', `ws://${address}/ws/ping/2/bad-frame/utf8`);
  check('the builder follows', (await page.locator('#chain b').allTextContents()).join(), 'ping,bad-frame');
  await page.selectOption('#language', 'websocat');
  check('websocat', await page.inputValue('#code'), `echo hello | websocat -n -v 'ws://${address}/ws/ping/2/bad-frame/utf8'`);
  await page.selectOption('#language', 'javascript');
  check('JavaScript', (await page.inputValue('#code')).includes(`new WebSocket("ws://${address}/ws/ping/2/bad-frame/utf8")`), true);
  await page.selectOption('#language', 'python');
  check('Python', (await page.inputValue('#code')).includes(`websockets.connect("ws://${address}/ws/ping/2/bad-frame/utf8")`), true);
}

/** Every row can be tried, and its example is a chain that the server takes. */
async function rows(page) {
  const count = await page.locator('#tables button').count();
  check('rows', count, 38 + 20 + 17);
  for (let at = 0; at < count; at++) {
    const name = await page.locator('#tables button').nth(at).getAttribute('aria-label');
    const path = await page.evaluate((at) => {
      document.querySelectorAll('#tables button')[at].click();
      const shown = document.querySelector('#url').value;
      document.querySelector('#disconnect').disabled || document.querySelector('#disconnect').click();
      return shown;
    }, at);
    const answer = await fetch(path.replace('ws:', 'http:'));
    // Without an upgrade a good chain is a 426, and a bad one a 404 or 400.
    check(name, answer.status, 426);
  }
}

async function phone(browser) {
  const context = await browser.newContext({ viewport: { width: 360, height: 640 }, isMobile: true, hasTouch: true });
  const page = await open(context);
  await page.tap('#connect');
  await logged(page, 'text: hello');
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  check('as wide as the screen', width, 360);
  await page.screenshot({ path: `${screenshots}/paths-phone.png` });
  await context.close();
}

run('chromium, paths', async () => {
  const browser = await launch();
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    const page = await open(context);
    await first(page);
    await page.screenshot({ path: `${screenshots}/paths.png`, fullPage: true });
    await builder(page);
    await rows(page);
    await phone(browser);
    check('errors of the page', errors.join('; '), '');
  } finally {
    await browser.close();
  }
});
