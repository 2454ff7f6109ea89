"""The table of foreign clients in README.md: what each agreed and showed.

Rows are lines of six fields: client, version, draft, deflate, subprotocol, what it showed; a client that was run in several
drafts has one row for each. Without --write, every row in ROWS has to be in the table, but for its version. How many there
are is in the project's README as well.
usage: table.py ROWS README [--write]
"""

import pathlib
import re
import sys

BEGIN, END = "<!-- clients: written by tests/foreign/run --all -->", "<!-- end of clients -->"
DOOR, COUNT = pathlib.Path("README.md"), re.compile(r"\[(\d+) foreign clients\]")
HEAD = ["| client | version | draft | deflate | subprotocol | what it showed |", "|---|---|---|---|---|---|"]


def gathered(lines):
    """One row a client and version, its drafts in order; of what differs between drafts, the last one's."""
    clients = {}
    for line in lines:
        fields = line.split("\t")
        if len(fields) == 6:
            name, version, draft, *rest = fields
            drafts = clients.get((name, version), (set(),))[0] | {draft}
            clients[name, version] = (drafts, *rest)
    order = ("75", "76", "7", "8", "13")
    return [(name, version, sorted(drafts, key=order.index), *rest) for (name, version), (drafts, *rest) in clients.items()]


def main(rows, readme, write):
    text = readme.read_text()
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = gathered(rows.read_text().splitlines())
    if write:
        lines = [f"| {name} | {version} | {', '.join(drafts)} | {' | '.join(rest)} |" for name, version, drafts, *rest in rows]
        readme.write_text(f"{before}{BEGIN}\n\n" + "\n".join(HEAD + sorted(lines, key=str.lower)) + f"\n\n{END}{after}")
        DOOR.write_text(COUNT.sub(f"[{len(lines)} foreign clients]", DOOR.read_text()))
        return
    known = {cells[0]: cells[2:] for line in old.splitlines() if len(cells := line.strip("| ").split(" | ")) == 6}
    wrong = [
        f"{name}: now {now}, in the table {known.get(name)}"
        for name, _, drafts, *rest in rows
        if (now := [", ".join(drafts), *rest]) != known.get(name)
    ]
    told = COUNT.search(DOOR.read_text())
    if told is None or int(told[1]) != len(known) - 1:  # the head is no client
        wrong.append(f"{len(known) - 1} clients, of which {DOOR} tells otherwise")
    if wrong or not rows:
        sys.exit("the table of foreign clients says something else:\n" + "\n".join(wrong))


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3:] == ["--write"])
