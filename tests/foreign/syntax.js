// Reads the pages as old engines do: all must be within the language of Safari 10 (ECMAScript 2015), and the board must say where it is not
// understood, in a script that any browser can read. usage: node syntax.js
"use strict";
const { parse } = require("acorn");
const { readFileSync } = require("fs");
const { join } = require("path");

const scripts = (page) => {
  const html = readFileSync(join(__dirname, "../../src/pages", page), "utf8");
  const found = [...html.matchAll(/<script>([^]*?)<\/script>/g)].map((match) => match[1]);
  if (found.length === 0 || found.length !== html.split("<script").length - 1) throw Error(`${page}: not every script is found`);
  return found;
};
const check = (page, nth, script, ecmaVersion) => {
  try {
    parse(script, { ecmaVersion, sourceType: "script" });
  } catch (error) {
    const line = script.split("\n")[error.loc.line - 1].trim();
    throw Error(`${page}, script ${nth}: not ECMAScript ${ecmaVersion}: ${error.message}: ${line}`);
  }
};

for (const page of ["index.html", "paths.html"]) scripts(page).forEach((script, nth) => check(page, nth, script, 2015));
const [board, ...words] = scripts("board.html");
check("board.html", 0, board, 2015);
if (!board.includes("dataset.runs") || !words.some((script) => script.includes("data-runs"))) {
  throw Error("board.html says nothing where it cannot run");
}
words.forEach((script, nth) => check("board.html", nth + 1, script, 5));
console.log("foreign: the pages are within ECMAScript 2015, and the board says where it cannot run");
