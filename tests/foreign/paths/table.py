"""Puts what the clients have shown into the tables of ../README.md, and holds it against them.

usage: table.py FOLDER [--write]                (what the clients showed of a plain server)
       table.py FOLDER --tls SEALED [--write]   (and of one in TLS: which of it is something else)

With --write the table is replaced. What Chromium says in words is not compared: its version is Debian's. Between plain and
TLS no words are compared, but what happened.
"""

import json
import pathlib
import re
import sys

sys.dont_write_bytecode = True
from cases import CASES
from others import OTHERS

README = pathlib.Path(__file__).parent.parent / "README.md"
CLIENTS = "Chromium undici ws websockets aiohttp tungstenite".split()
WORDS_MAX = 110
WORDS = re.compile(r"((?:closed|failed) \d+|failed|no answer)\b(?! \").*")


def shown(folder):
    outcomes = {name: json.loads((pathlib.Path(folder) / f"{name}.json").read_text()) for name in CLIENTS}
    for name, outcome in outcomes.items():
        if len(outcome) != len(CASES):
            sys.exit(f"paths: {name} tells of {len(outcome)} cases, not {len(CASES)}")
    return outcomes


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


def happened(outcome):
    """Without the words of whoever tells of it."""
    return WORDS.sub(r"\1", outcome).rstrip(": ")


def differences(plain, sealed):
    yield "| path | client | plain | in TLS |\n"
    yield "|---|---|---|---|\n"
    for at, case in enumerate(CASES):
        for name in CLIENTS:
            one, other = plain[name][at], sealed[name][at]
            if happened(one) != happened(other):
                yield f"| `{case['name']}` | {name} | {cell(one)} | {cell(other)} |\n"


def others():
    names = {case["name"] for case in CASES}
    yield "| suite | there | here |\n"
    yield "|---|---|---|\n"
    for suite, there, here in OTHERS:
        if here not in names:
            sys.exit(f"paths: {suite} has {there}, for which there is no case {here}")
        yield f"| {suite} | {there} | `{here}` |\n"


def without_words(line, at):
    """A row whose cell of number `at` has no words behind what happened."""
    cells = line.split(" | ")
    if at < len(cells):
        cells[at] = happened(cells[at].rstrip(" |\n"))
    return cells


def hold(name, lines, chromium, is_write):
    """Holds `lines` against the table of that name; with words of Chromium in the cells of number `chromium`."""
    begin, end = f"<!-- {name}: written by --write -->\n", f"<!-- end of {name} -->\n"
    before, rest = README.read_text().split(begin)
    old, after = rest.split(end)
    if is_write:
        README.write_text(before + begin + "\n" + "".join(lines) + "\n" + end + after)
        return
    old = [line for line in old.splitlines(keepends=True) if line != "\n"]
    differ = [
        f"- {was}+ {line}" for was, line in zip(old, lines, strict=False)
        if without_words(was, chromium) != without_words(line, chromium)
    ]
    if differ or len(old) != len(lines):
        sys.exit(f"paths: another table of {name} than that of {README.name} ({len(lines)} rows, not {len(old)}):\n{''.join(differ)}{''.join(lines) if not differ else ''}")


def main():
    arguments = sys.argv[1:]
    is_write = "--write" in arguments
    arguments = [each for each in arguments if each != "--write"]
    plain = shown(arguments[0])
    if arguments[1:2] == ["--tls"]:
        lines = list(differences(plain, shown(arguments[2])))
        # What happened is all that is compared: no words.
        rows = [" | ".join(happened(each) for each in line.rstrip(" |\n").split(" | ")) + " |\n" for line in lines[2:]]
        hold("what TLS changes", lines[:2] + rows, len(CLIENTS) + 1, is_write)
        print(f"foreign: {len(CASES)} failures in TLS, shown as without it by {len(CLIENTS)} clients but for {len(lines) - 2} outcomes")
        return
    hold("others", list(others()), len(CLIENTS) + 1, is_write)
    hold("outcomes", list(table(plain)), 1 + CLIENTS.index("Chromium"), is_write)
    print(f"foreign: {len(CASES)} failures, {len(CLIENTS)} clients show of them what the README says")


main()
