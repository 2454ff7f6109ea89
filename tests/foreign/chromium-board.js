// Headless Chromium on the drawing board of the server at ADDRESS:PORT; the boards at BRIEF-ADDRESS exist for ten seconds.
// usage: chromium-board.js ADDRESS:PORT BRIEF-ADDRESS:PORT SCREENSHOTS
'use strict';

const { borders, launch } = require('./browser.js');
const { check, run } = require('./messages.js');

const [address, brief, screenshots] = process.argv.slice(2);
const errors = [];

async function open(context, url) {
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  check('status of the page', (await page.goto(url)).status(), 200);
  return page;
}

const shows = (page, id, text) => page.waitForFunction(([id, text]) => document.getElementById(id).textContent === text, [id, text]);

/** Where on the screen a point of the paper is; both as parts of its width and height. */
async function place(page, [x, y]) {
  const box = await page.locator('#paper').boundingBox();
  return [box.x + x * box.width, box.y + y * box.height];
}

async function drag(page, from, to) {
  await page.mouse.move(...(await place(page, from)));
  await page.mouse.down();
  await page.mouse.move(...(await place(page, to)), { steps: 20 });
  await page.mouse.up();
}

/** Waits until the paper of `page` has this colour at a point; '' is none. */
const has = (page, point, colour) =>
  page.waitForFunction(
    ([[x, y], colour]) => {
      const paper = document.getElementById('paper');
      const [r, g, b, a] = paper.getContext('2d').getImageData(x * paper.width, y * paper.height, 1, 1).data;
      return colour === (a > 200 ? '#' + [r, g, b].map((each) => each.toString(16).padStart(2, '0')).join('') : '');
    },
    [point, colour],
  );

async function pick(page, index) {
  const ink = page.locator('#inks input').nth(index);
  await ink.check();
  return ink.getAttribute('value');
}

async function draw(browser) {
  const context = await browser.newContext({ viewport: { width: 900, height: 700 } });
  const one = await open(context, `http://${address}/board`);
  check('its own board', /\/board\/[a-z0-9]{8}$/.test(one.url()), true);
  check('way back', await one.getAttribute('header a', 'href'), '/');
  check('link to share', await one.inputValue('#link'), one.url());
  const two = await open(context, one.url());
  await two.emulateMedia({ colorScheme: 'dark' });
  for (const page of [one, two]) await shows(page, 'participants', '2');

  const first = await pick(one, 1);
  await drag(one, [0.1, 0.2], [0.9, 0.2]);
  await has(two, [0.5, 0.2], first);
  const second = await pick(two, 2);
  check('another colour', first === second, false);
  await drag(two, [0.1, 0.6], [0.9, 0.6]);
  await has(one, [0.5, 0.6], second);
  await has(two, [0.5, 0.4], '');

  // A finger on a small screen; who comes late is shown what there is.
  const phone = await browser.newContext({ viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  const three = await open(phone, one.url());
  await has(three, [0.5, 0.2], first);
  await has(three, [0.5, 0.6], second);
  const third = await pick(three, 3);
  await three.touchscreen.tap(...(await place(three, [0.5, 0.8])));
  for (const page of [one, two]) await has(page, [0.5, 0.8], third);
  for (const page of [one, two, three]) await shows(page, 'participants', '3');
  await one.waitForFunction(() => /^\d+\.\d ms$/.test(document.getElementById('latency').textContent));
  for (const [name, page] of Object.entries({ light: one, dark: two, phone: three })) {
    await page.screenshot({ path: `${screenshots}/board-${name}.png` });
  }

  // Who is not alone is asked first; Playwright says no, as Escape does, unless told otherwise.
  await two.click('#clear');
  await has(two, [0.5, 0.2], first);
  two.once('dialog', (dialog) => dialog.accept());
  await two.click('#clear');
  for (const page of [one, two, three]) await has(page, [0.5, 0.2], '');
  await two.close();
  for (const page of [one, three]) await shows(page, 'participants', '2');
  await borders(one, '#link');
  await context.close();
  await phone.close();
}

/** Safari before 13 knows mice and fingers, and no pointers. */
async function drawInOldSafari(browser) {
  const context = await browser.newContext({ hasTouch: true });
  await context.addInitScript(() => ['PointerEvent', 'ResizeObserver'].forEach((name) => delete window[name]));
  const old = await open(context, `http://${address}/board/old`);
  const other = await open(browser, old.url());
  for (const page of [old, other]) await shows(page, 'participants', '2');
  const colour = await pick(old, 3);
  await drag(old, [0.1, 0.2], [0.9, 0.2]);
  await has(other, [0.5, 0.2], colour);
  await old.touchscreen.tap(...(await place(old, [0.5, 0.8])));
  await has(other, [0.5, 0.8], colour);
  await has(other, [0.5, 0.5], '');
  await context.close();
  await other.close();
}

/** Lets time pass for a page: what it takes for now is so many seconds later. */
const pass = (page, seconds) =>
  page.evaluate((seconds) => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + seconds * 1000;
  }, seconds);

/** A board of five minutes, whose time passes as it is told to. */
async function warn(browser) {
  const page = await open(browser, `http://${address}/board/warned`);
  await shows(page, 'state', 'connected');
  await pass(page, 200);
  await page.waitForFunction(() => /^1:[0-3]\d$/.test(document.getElementById('time').textContent));
  check('no warning yet', await page.isVisible('#ending'), false);
  await pass(page, 45);
  await page.waitForSelector('#ending:not([hidden])');
  check('warning', /^This board ends in a minute,/.test(await page.textContent('#ending')), true);
  // A newcomer, for whom no time has passed, learns when the board ends from who is there.
  const late = await open(browser, `http://${address}/board/warned`);
  await late.waitForSelector('#ending:not([hidden])');
  check('time left', /^0:[0-5]\d$/.test(await late.textContent('#time')), true);
  await late.close();
  await page.close();
}

async function end(browser) {
  const page = await open(browser, `http://${brief}/board/brief`);
  check('how early it warns', await page.textContent('#minute'), '2 s');
  await page.waitForSelector('#ended:not([hidden])');
  check('reason', await page.textContent('#reason'), "The server closed this board: Board can't exist for more than 10s.");
  check('state', await page.textContent('#state'), 'closed');
  await page.close();
}

async function main() {
  const browser = await launch();
  try {
    await draw(browser);
    await drawInOldSafari(browser);
    await warn(browser);
    await end(browser);
    check('errors', errors.join('; '), '');
  } finally {
    await browser.close();
  }
}

run('Chromium, two tabs and a phone on a board', main);
