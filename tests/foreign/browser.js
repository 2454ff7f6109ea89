// Headless Chromium, for the tests that drive the pages.
'use strict';

const { chromium } = require('playwright-core');
const { check } = require('./messages.js');

/** Debian's, without what it would ask of a network. */
const launch = () =>
  chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });

/** Contrast of two colours (WCAG 2.2, 1.4.11: 3 for what makes a control recognisable). */
function contrast(one, other) {
  const luminance = (colour) => {
    const [r, g, b] = colour.match(/\d+/g).map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

/** The border of a control stands out from the control and from the page, in the light and in the dark. */
async function borders(page, control) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const [border, field, around] = await page.evaluate((control) => [
      getComputedStyle(document.querySelector(control)).borderTopColor,
      getComputedStyle(document.querySelector(control)).backgroundColor,
      getComputedStyle(document.body).backgroundColor,
    ], control);
    for (const behind of [field, around]) check(`border in the ${colorScheme}`, contrast(border, behind) >= 3, true);
  }
}

module.exports = { borders, launch };
