"""Latency in an open loop, by connections: each server by turns at a fixed rate, from loadgen. Writes open-loop.md.

A figure stands only where loadgen trusts it: `-` is one that loadgen's own lateness could have changed, and a run that is not
VALID at all is `not measured`, with its first reason.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from run import HERE, Server, servers

LOADS = [(1, 1000), (100, 5000), (1000, 10000), (10000, 10000), (19000, 10000)]
WHO = ["wsecho", "wsecho --spin 1ms", "fastwebsockets", "ws (Node.js)"]
PERCENTILES = ["50", "99", "99.9"]


def measure(loadgen, server, connections, rate, seconds, cpus):
    """What loadgen reports of one run, or None."""
    pin = ["taskset", "-c", str(cpus[0])] if len(cpus) > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            *pin, str(loadgen), "run", f"ws://127.0.0.1:{server.port}/echo", "-q", "-t", "1", "-c", str(connections),
            "-R", str(rate), "-d", f"{seconds}s", "--warmup", "2s", "--spin-read", "--json", str(report),
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


def main():
    parser = argparse.ArgumentParser(description="Open-loop latency of echo servers, by connections.")
    parser.add_argument("--wsecho", required=True, type=Path)
    parser.add_argument("--loadgen", required=True, type=Path)
    parser.add_argument("--tools", required=True, type=Path)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=HERE)
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    commands = servers(options.tools, options.wsecho, None)
    lines = ["| connections, messages a second | " + " | ".join(WHO) + " |", "|---|" + "---|" * len(WHO)]
    for connections, rate in LOADS:
        cells = []
        for who in WHO:
            server = Server(commands[who], cpus, options.tools)
            cells.append(cell(measure(options.loadgen, server, connections, rate, options.seconds, cpus)))
            server.end()
        lines.append(f"| {connections:,} at {rate:,}/s | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    (options.out / "open-loop.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
