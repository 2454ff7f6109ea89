// Chromium, which trusts the authority by its own store: the page and a board over https. usage: chromium.js PORT AUTHORITY FOLDER
'use strict';

const { execFileSync } = require('node:child_process');
const fs = require('node:fs');
const { chromium } = require('playwright-core');
const { check, run } = require('../foreign/messages.js');

const [port, authority, folder] = process.argv.slice(2);

async function main() {
  const home = `${folder}/home`;
  const store = `${home}/.pki/nssdb`;
  fs.rmSync(home, { recursive: true, force: true });
  fs.mkdirSync(store, { recursive: true });
  const certutil = (...args) => execFileSync('certutil', ['-d', `sql:${store}`, ...args], { stdio: 'ignore', timeout: 30_000 });
  certutil('-N', '--empty-password');
  certutil('-A', '-n', 'wsecho', '-t', 'C,,', '-i', authority);
  const browser = await chromium.launch({
    executablePath: '/usr/bin/chromium',
    env: { ...process.env, HOME: home },
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    const page = await browser.newPage();
    page.setDefaultTimeout(30_000);
    await page.goto(`https://localhost:${port}/`);
    check('URL box', await page.inputValue('#url'), `wss://localhost:${port}/echo`);
    const logged = (text) => page.waitForFunction((text) => document.querySelector('#log').textContent.includes(text), text);
    await page.click('#connect');
    await logged('connection established.');
    await page.click('#send');
    await logged("message received: 'Hello, echo'");
    await page.click('#disconnect');
    await logged('connection closed. (1000');
    const [one, two] = [await browser.newPage(), await browser.newPage()];
    for (const board of [one, two]) await board.goto(`https://localhost:${port}/board/tls`);
    for (const board of [one, two]) await board.waitForFunction(() => document.querySelector('#participants').textContent === '2');
    check('boards', true, true);
  } finally {
    // One that does not go is killed with this process.
    await Promise.race([browser.close(), new Promise((resolve) => setTimeout(resolve, 10_000))]);
  }
}

run('Chromium over TLS', main);
