"""What loadgen says of four servers, by turns: latency at a fixed rate, by connections (open-loop.md), and how many replies a
second come where a reply sends the next message (closed-loop.md).

A latency stands only where loadgen trusts it: `-` is one that loadgen's own lateness could have changed, and a run that is not
VALID at all is `not measured`, with its first reason.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from run import HERE, Server, quartiles, servers

LOADS = [(1, 1000), (100, 5000), (1000, 10000), (10000, 10000), (19000, 10000)]
CLOSED = [1, 100, 5000]
WHO = ["wsecho", "wsecho --spin 1ms", "fastwebsockets", "ws (Node.js)"]
PERCENTILES = ["50", "99", "99.9"]


def measure(loadgen, server, connections, load, seconds, cpus):
    """What loadgen reports of one run, or None; `load` is its rate, or that it is a closed loop."""
    pin = ["taskset", "-c", str(cpus[0])] if len(cpus) > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *pin, str(loadgen), "run", f"ws://127.0.0.1:{server.port}/echo", "-q", "-t", "1", "-c", str(connections),
            *load, "-d", f"{seconds}s", "--warmup", "2s", "--json", str(report),
        ]
        server.go_on()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        server.rest()
        if not report.exists():
            print(done.stderr, file=sys.stderr)
            return None
        return json.loads(report.read_text())


def cell(report):
    """p50 / p99 / p99.9 in microseconds, as far as they are trusted."""
    if report is None:
        return "not measured: no report"
    if report["verdict"]["status"] in ("invalid", "faulty"):
        reasons = report["verdict"]["reasons"]
        return "not measured: " + (str(reasons[0]).split(":")[0] if reasons else report["verdict"]["status"])
    trusted = {each["p"]: each["trusted"] for each in report["verdict"]["trust"]}
    response = report["latency_ns"]["response"]["p"]
    shown = [f"{response[p] / 1000:,.0f}" if trusted.get(p) and p in response else "-" for p in PERCENTILES]
    return " / ".join(shown)


def closed_cells(rounds):
    """Replies a second of the first, and of each other the ratio to the first in the same round, with its quartiles."""
    cells = [f"{statistics.median(each[0] for each in rounds if each[0]):,.0f}/s"]
    for other in range(1, len(WHO)):
        low, middle, high = quartiles([each[other] / each[0] for each in rounds if each[other] and each[0]])
        cells.append(f"{middle:.2f} ({low:.2f}-{high:.2f})")
    return cells


def main():
    parser = argparse.ArgumentParser(description="Echo servers by turns in loadgen's loops, open and closed.")
    parser.add_argument("--wsecho", required=True, type=Path)
    parser.add_argument("--loadgen", required=True, type=Path)
    parser.add_argument("--tools", required=True, type=Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3, help="of the closed loop")
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    commands = servers(options.tools, options.wsecho, None)

    def one(who, connections, load):
        server = Server(commands[who], cpus, options.tools)
        report = measure(options.loadgen, server, connections, load, options.seconds, cpus)
        server.end()
        return report

    lines = ["| connections, messages a second | " + " | ".join(WHO) + " |", "|---|" + "---|" * len(WHO)]
    for connections, rate in LOADS:
        cells = [cell(one(who, connections, ["-R", str(rate), "--spin-read"])) for who in WHO]
        lines.append(f"| {connections:,} at {rate:,}/s | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    (options.out / "open-loop.md").write_text("\n".join(lines) + "\n")

    lines = ["| connections, one message in flight each | " + " | ".join(WHO) + " |", "|---|" + "---|" * len(WHO)]
    for connections in CLOSED:
        rounds = [[one(who, connections, ["--closed"]) for who in WHO] for _ in range(options.rounds)]
        cells = closed_cells([[report and report["messages"]["answered_rate"] for report in each] for each in rounds])
        lines.append(f"| {connections:,} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    (options.out / "closed-loop.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
