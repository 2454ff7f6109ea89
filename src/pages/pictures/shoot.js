// Takes the pictures: the test page of the server at ADDRESS:PORT, and the report in a file.
// usage: shoot.js ADDRESS:PORT REPORT DIRECTORY
'use strict';

const path = require('path');
const { launch } = require('../../../tests/foreign/browser.js');

const [address, report, directory] = process.argv.slice(2);
const viewport = { width: 900, height: 640 };

/** The test page, after it has sent something. */
async function page(browser, colorScheme, file) {
  const page = await browser.newPage({ viewport, colorScheme });
  await page.goto(`http://${address}/`);
  await page.click('#connect');
  await page.waitForFunction(() => !document.querySelector('#send').disabled);
  for (const text of ['Hello!', 'Grüße, κόσμε', 'frame for frame']) {
    await page.fill('#message', text);
    await page.click('#send');
    await page.waitForFunction((text) => document.querySelector('#log').textContent.split(text).length > 2, text);
  }
  await page.screenshot({ path: path.join(directory, file) });
  await page.close();
}

async function reported(browser, colorScheme, file) {
  const page = await browser.newPage({ viewport, colorScheme });
  await page.goto(`file://${report}`);
  await page.screenshot({ path: path.join(directory, file) });
  await page.close();
}

(async () => {
  const browser = await launch();
  for (const [scheme, suffix] of [['light', ''], ['dark', '-dark']]) {
    await page(browser, scheme, `page${suffix}.png`);
    await reported(browser, scheme, `report${suffix}.png`);
  }
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
