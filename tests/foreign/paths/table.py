"""Puts what the clients have shown into a table, and holds it against that of ../README.md.

usage: table.py [--write] NAME=FILE...   (a client's name and its outcomes in JSON)

With --write the table of the README is replaced. What Chromium says in words is not compared: its version is Debian's.
"""

import json
import pathlib
import re
import sys

sys.dont_write_bytecode = True
from cases import CASES

README = pathlib.Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- outcomes: written by tests/foreign/paths/run --write -->\n", "<!-- end of outcomes -->\n"
WORDS_MAX = 110


def cell(outcome):
    """As text in a table: printable, in one line, not too long."""
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in outcome)
    text = text if len(text) <= WORDS_MAX else text[:WORDS_MAX].rstrip() + "…"
    return re.sub(r"([|<>*_`\[\]\\])", r"\\\1", text)


def table(outcomes):
    yield "| path | " + " | ".join(outcomes) + " |\n"
    yield "|---" * (1 + len(outcomes)) + "|\n"
    for at, case in enumerate(CASES):
        cells = [cell(outcome[at]) for outcome in outcomes.values()]
        yield f"| `{case['name']}` | {' | '.join(cells)} |\n"


def without_words(line, at):
    """A row whose cell of number `at` has no words behind what happened."""
    cells = line.split(" | ")
    if at < len(cells):
        cells[at] = re.sub(r"((?:closed|failed) \d+|no answer)\b.*", r"\1", cells[at].rstrip(" |\n"))
    return cells


def main():
    arguments = sys.argv[1:]
    is_write = "--write" in arguments
    files = dict(each.split("=", 1) for each in arguments if each != "--write")
    outcomes = {name: json.loads(pathlib.Path(file).read_text()) for name, file in files.items()}
    for name, outcome in outcomes.items():
        if len(outcome) != len(CASES):
            sys.exit(f"paths: {name} tells of {len(outcome)} cases, not {len(CASES)}")
    lines = list(table(outcomes))
    before, rest = README.read_text().split(BEGIN)
    old, after = rest.split(END)
    if is_write:
        README.write_text(before + BEGIN + "\n" + "".join(lines) + "\n" + END + after)
        return
    chromium = 1 + list(outcomes).index("Chromium")
    old = [line for line in old.splitlines(keepends=True) if line != "\n"]
    differ = [
        f"- {was}+ {line}" for was, line in zip(old, lines, strict=False)
        if without_words(was, chromium) != without_words(line, chromium)
    ]
    if differ or len(old) != len(lines):
        sys.exit(f"paths: another table than that of {README.name} ({len(lines)} rows, not {len(old)}):\n{''.join(differ)}")
    print(f"foreign: {len(CASES)} failures, {len(outcomes)} clients show of them what the README says")


main()
