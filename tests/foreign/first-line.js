// Headless Chromium: a line typed into the console of the page at URL. Prints what it logs first.
// usage: first-line.js URL LINE
'use strict';

const { launch } = require('./browser.js');

const [url, line] = process.argv.slice(2);

(async () => {
  const browser = await launch();
  try {
    const page = await browser.newPage();
    await page.goto(url);
    const logged = page.waitForEvent('console', { timeout: 30_000 });
    await page.evaluate(line);
    console.log((await logged).text());
  } finally {
    await browser.close();
  }
})();
