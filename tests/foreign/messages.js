// What every client from npm sends and wants back, and how it says so.
'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');

const lengths = [1, 125, 126, 127, 65535, 65536, 1 << 20];
const texts = ['', 'hello', 'κόσμε ✓ 😀', 'quit!', ...lengths.map((n) => 'é'.repeat(n >> 1) + 'x'.repeat(n & 1))];
const binaries = [Buffer.alloc(0), Buffer.from('quit'), ...lengths.map((n) => Buffer.from(Array.from({ length: n }, (_, i) => i * 31)))];

/** A long conversation: text and binary, with and without repetitions, of many sizes up to 70,000 bytes. */
function conversation(count) {
  let seed = 1;
  const noise = () => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 16;
  return Array.from({ length: count }, (_, i) => {
    const size = [0, 3, 20, 125, 126, 1000, 5000, 33000, 70000][i % 9];
    const words = ['κόσμε ', 'hello ', `${i} `];
    const text = (word) => Array.from({ length: size >> 3 }, word).join('');
    return [
      text(() => words[noise() % 3]),
      Buffer.from(Array.from({ length: size }, noise)),
      text(() => String.fromCharCode(32 + (noise() % 95))),
      Buffer.alloc(size, i),
    ][i % 4];
  });
}

/** KiB that a server may grow by, whatever is said to it: what one read and its answer take. */
const GROWTH = 256;

/** Anonymous memory of a process in KiB. */
const memory = (pid) => Number(/^RssAnon:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

let checks = 0;

/** Fails unless `got` and `want` are the same; both may be long. */
function check(what, got, want) {
  checks += 1;
  const same = Buffer.isBuffer(want) ? Buffer.isBuffer(got) && want.equals(got) : Object.is(got, want);
  if (same) return;
  const show = (value) => (value?.length > 100 ? `${value.slice(0, 100).toString()}... (${value.length})` : String(value));
  assert.fail(`${what}: got ${show(got)}, expected ${show(want)}`);
}

/** What an emitter emits, in order: `await next()` is the next event, as an array that begins with its name. */
function events(emitter, names) {
  const queue = [];
  let wake = () => {};
  for (const name of names) {
    emitter.on(name, (...values) => {
      queue.push([name, ...values]);
      wake();
    });
  }
  return async () => {
    while (queue.length === 0) {
      await new Promise((resolve, reject) => {
        wake = resolve;
        setTimeout(() => reject(new Error(`none of ${names} within 30 s`)), 30_000).unref();
      });
    }
    return queue.shift();
  };
}

/**
 * Runs `main`, says how many checks it made, and makes a failure the exit code. What `main` gives, if anything, is a row of
 * the table of clients: client, version, draft, deflate, subprotocol, what it showed.
 */
function run(client, main) {
  main().then(
    (row) => {
      console.log(`${client}: ${checks} checks`);
      if (row) console.log(row.join('\t'));
      process.exit(0);
    },
    (error) => {
      console.error(`${client}: ${error.stack}`);
      process.exit(1);
    },
  );
}

module.exports = { texts, binaries, conversation, memory, GROWTH, check, events, run };
