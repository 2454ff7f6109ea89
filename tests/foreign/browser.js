// Headless Chromium, for the tests that drive the pages.
'use strict';

const { chromium } = require('playwright-core');

/** Debian's, without what it would ask of a network. */
const launch = () =>
  chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: ['--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });

module.exports = { launch };
