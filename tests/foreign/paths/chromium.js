// Headless Chromium against a server at URL, with what its console says. usage: chromium.js URL CASES
'use strict';

const { launch } = require('../browser.js');
const { attempt, PATIENCE } = require('./standard.js');

const [url, cases] = process.argv.slice(2);
const TOGETHER = 8;

async function main() {
  const browser = await launch();
  const page = await (await browser.newContext()).newPage();
  const said = new Map();
  page.on('console', (message) => {
    const found = /^WebSocket connection to '[^']*\/ws\/([^']*)' failed: (.*)$/s.exec(message.text());
    if (found) said.set(found[1], found[2].replace(/^Error during WebSocket handshake: /, '').trim());
  });
  await page.goto(url.replace('ws', 'http'));
  await page.addScriptTag({ content: `const PATIENCE = ${PATIENCE}; ${attempt}` });
  // The server ignores what it does not know in a query; the console's lines are told apart by it.
  const all = JSON.parse(cases).map((one, at) => ({ ...one, path: `${one.path}${one.path.includes('?') ? '&' : '?'}n=${at}` }));
  const outcomes = [];
  const together = async (some) => {
    const attempts = ([base, some]) =>
      Promise.all(some.map((one) => attempt(WebSocket, base, one, (seen) => seen.push(`document.cookie ${document.cookie}`))));
    const seen = await page.evaluate(attempts, [`${url}/ws/`, some]);
    some.forEach((one, at) => { outcomes[all.indexOf(one)] = seen[at]; });
  };
  // With one host Chromium has one handshake at a time (RFC 6455 section 4.1), so slow ones are tried by themselves; and last
  // those with credentials, which it shows of its own accord from then on.
  const isApart = (one) => one.path.startsWith('handshake-') || one.user;
  const quick = all.filter((one) => !isApart(one));
  for (let at = 0; at < quick.length; at += TOGETHER) await together(quick.slice(at, at + TOGETHER));
  for (const one of all.filter(isApart).sort((one, other) => Boolean(one.user) - Boolean(other.user))) await together([one]);
  await browser.close();
  return outcomes.map((outcome, at) => {
    const why = said.get(all[at].path);
    return why ? `${outcome}: ${why}` : outcome;
  });
}

main().then((outcomes) => console.log(JSON.stringify(outcomes)));
