"""Runs every server by turns, row by row, and writes what they did: results.json, the table, and a chart.

The servers start once a row and stay; in every round each is driven for a while, the others stopped (SIGSTOP), so that a slow
moment of the machine meets all. What is compared is the ratio to wsecho in the same round: its median, and its quartiles.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS = [
    # name, title, arguments of the client, and what is compared
    ("one", "1 connection, 20 B", ["echo", "--connections", "1"], "rate"),
    ("hundred", "100 connections, 20 B", ["echo", "--connections", "100"], "rate"),
    ("thousands", "5,000 connections, 20 B", ["echo", "--connections", "5000"], "rate"),
    ("pipelined", "100 connections, 20 B, 16 in flight", ["echo", "--connections", "100", "--in-flight", "16"], "rate"),
    ("16k", "20 connections, 16 KiB", ["echo", "--connections", "20", "--size", "16384"], "rate"),
    ("1m", "4 connections, 1 MiB", ["echo", "--connections", "4", "--size", "1048576"], "rate"),
    ("connect", "2,000 connections: open, one echo, close", ["connect", "--connections", "2000"], "rate"),
    ("tls", "100 connections, 20 B, TLS 1.3", ["echo", "--connections", "100"], "rate"),
    ("tls-16k", "20 connections, 16 KiB, TLS 1.3", ["echo", "--connections", "20", "--size", "16384"], "rate"),
    ("idle", "5,000 idle connections: memory of one", ["idle", "--connections", "5000"], "bytes"),
]


def servers(tools, wsecho, uwebsockets):
    """Each server: its name, and its command with the port to come."""
    rust = tools / "release"
    python = tools / "venv/bin/python"
    every = {
        "wsecho": [wsecho, "--policy", "off", "--log-level", "error", "--listen", "127.0.0.1:{port}"],
        "wsecho --spin 1ms": [wsecho, "--policy", "off", "--log-level", "error", "--spin", "1ms", "--listen", "127.0.0.1:{port}"],
        "fastwebsockets": [rust / "fastwebsockets", "{port}"],
        "tokio-tungstenite": [rust / "tokio_tungstenite", "{port}"],
        "tokio-websockets": [rust / "tokio_websockets", "{port}"],
        "sockudo-ws": [rust / "sockudo", "{port}"],
        "ws (Node.js)": ["node", HERE / "node/echo.js", "{port}"],
        "websockets (Python)": [python, HERE / "python/echo_websockets.py", "{port}"],
        "gevent-websocket": [python, HERE / "python/echo_gevent.py", "{port}"],
        "ws4py": [python, HERE / "python/echo_ws4py.py", "{port}"],
    }
    if uwebsockets:
        every["uWebSockets"] = [uwebsockets, "{port}"]
    return every


def secured(tools, commands):
    """The same in TLS, as far as they can: with a certificate and its key."""
    pair = [tools / "certificates/one.pem", tools / "certificates/one.key"]
    ours = tools / "tls/release/wsecho"
    every = {}
    for peer, command in commands.items():
        if peer.startswith("wsecho"):
            options = ["--listen-tls", "127.0.0.1:{port}", "--tls-cert", pair[0], "--tls-key", pair[1]]
            every[peer] = [ours, *command[1:-1], "127.0.0.1:0", *options]
        elif peer not in ("gevent-websocket", "ws4py"):
            every[peer] = [*command, *pair]
    return every


class Server:
    """A server on a CPU of its own, as far as there are two; killed at the end."""

    def __init__(self, command, cpus, tools):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        words = [str(word).format(port=self.port) for word in command]
        pin = ["taskset", "-c", str(cpus[-1])] if len(cpus) > 1 else []
        environment = {**os.environ, "NODE_PATH": str(tools / "node_modules")}
        self.process = subprocess.Popen([*pin, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        for _ in range(600):
            if self.process.poll() is not None:
                sys.exit(f"peers: {words[0]} ended with {self.process.returncode}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit(f"peers: {words[0]} does not listen")
        self.rest()

    def rest(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def end(self):
        self.go_on()
        self.process.kill()
        self.process.wait()


def drive(client, server, arguments, seconds, cpus):
    """What one client saw of a server in one round."""
    pin = ["taskset", "-c", str(cpus[0])] if len(cpus) > 1 else []
    command = [*pin, str(client), f"127.0.0.1:{server.port}", str(server.process.pid), *arguments, "--seconds", str(seconds)]
    server.go_on()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    server.rest()
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "failed"}
    return json.loads(done.stdout)


def measure(options, cpus):
    """Every row, every server: a list of what was seen, a round each."""
    tools, client = options.tools, options.tools / "release/client"
    plain = servers(tools, options.wsecho, options.uwebsockets)
    results = {}
    for name, title, arguments, _ in ROWS:
        if options.rows and name not in options.rows:
            continue
        is_secure = name.startswith("tls")
        commands = secured(tools, plain) if is_secure else plain
        if is_secure:
            arguments = [*arguments, "--authority", str(tools / "certificates/ca.pem")]
        running = {peer: Server(command, cpus, tools) for peer, command in commands.items()}
        seen = {peer: [] for peer in running}
        rounds = 1 if name == "idle" else options.rounds
        for _ in range(rounds):
            for peer, server in running.items():
                if any("failed" in one for one in seen[peer]):
                    continue
                seen[peer].append(drive(client, server, arguments, options.seconds, cpus))
        for server in running.values():
            server.end()
        results[name] = seen
        print(f"{title}: done", file=sys.stderr)
    return results


def quartiles(values):
    values = sorted(values)
    at = lambda part: values[round((len(values) - 1) * part)]
    return at(0.25), statistics.median(values), at(0.75)


def ratios(seen, peer, what):
    """A peer's figure beside wsecho's, round by round."""
    return [theirs[what] / ours[what] for ours, theirs in zip(seen["wsecho"], seen[peer]) if what in theirs and what in ours]


def table(results):
    """The results as a table of Markdown."""
    rows = [row for row in ROWS if row[0] in results]
    peers = list(next(iter(results.values())))
    lines = ["| | " + " | ".join(title for _, title, _, _ in rows) + " |", "|---|" + "---|" * len(rows)]
    for peer in peers:
        cells = []
        for name, _, _, what in rows:
            seen = results[name]
            if peer not in seen:
                cells.append("")
                continue
            failed = next((one["failed"] for one in seen[peer] if "failed" in one), None)
            if failed:
                cells.append(f"fails: {failed}")
            elif peer == "wsecho" or what == "bytes":
                figure = statistics.median(one[what] for one in seen[peer])
                cells.append(f"{figure:,.0f} B" if what == "bytes" else f"{figure:,.0f}/s")
            else:
                low, middle, high = quartiles(ratios(seen, peer, what))
                cells.append(f"{middle:.2f}" if low == high else f"{middle:.2f} ({low:.2f}-{high:.2f})")
        lines.append(f"| {peer} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chart(results):
    """Bars: the rate of every server with 100 connections, as a part of wsecho's."""
    name = "hundred" if "hundred" in results else next(iter(results))
    title, what = next((row[1], row[3]) for row in ROWS if row[0] == name)
    seen = results[name]
    bars = [(peer, statistics.median(ratios(seen, peer, what) or [0])) for peer in seen]
    bars.sort(key=lambda bar: -bar[1])
    widest = max(value for _, value in bars)
    lines = []
    for at, (peer, value) in enumerate(bars):
        y, width = 34 + 24 * at, 380 * value / widest
        kind = "ours" if peer.startswith("wsecho") else "theirs"
        lines.append(f'<text x="168" y="{y + 13}" text-anchor="end">{peer}</text>')
        lines.append(f'<rect class="{kind}" x="176" y="{y}" width="{width:.1f}" height="18" rx="2"/>')
        lines.append(f'<text x="{182 + width:.1f}" y="{y + 13}">{value:.2f}</text>')
    height = 44 + 24 * len(bars)
    style = (
        "text{font:13px system-ui,sans-serif;fill:#222}.ours{fill:#0a7d4f}.theirs{fill:#9aa4ad}"
        "@media(prefers-color-scheme:dark){text{fill:#ddd}.ours{fill:#3ecf8e}.theirs{fill:#5a646d}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 {height}" role="img" aria-label="{title}">'
        f'<style>{style}</style><text x="8" y="20">{title}: messages a second, wsecho = 1</text>{"".join(lines)}</svg>\n'
    )


def main():
    parser = argparse.ArgumentParser(description="Echo servers beside wsecho, by turns.")
    parser.add_argument("--wsecho", required=True, type=Path)
    parser.add_argument("--tools", required=True, type=Path, help="where the peers were built")
    parser.add_argument("--uwebsockets", type=Path, help="its echo server")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    cpus = sorted(os.sched_getaffinity(0))
    results = measure(options, cpus)
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "chart.svg").write_text(chart(results))
    text = table(results)
    (options.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
