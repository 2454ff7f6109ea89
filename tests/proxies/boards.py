"""Boards on three servers behind one proxy. Runs in a network namespace of its own, as `boards` starts it.

usage: boards.py WSECHO DIRECTORY-FOR-LOGS
"""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import websockets

HERE = Path(__file__).parent
WSECHO, LOGS = sys.argv[1], Path(sys.argv[2])
PATIENCE = 30  # seconds until what does not come is given up
NODES = (8087, 8088, 8089)
BOARDS = [f"board-{number}" for number in range(12)]
PROXIES = {
    "HAProxy": (8000, ["haproxy", "-db", "-f", str(HERE / "boards-haproxy.cfg")]),
    "nginx": (80, ["nginx", "-g", "daemon off; pid /run/nginx.pid; error_log stderr;", "-c", str(HERE / "boards-nginx.conf")]),
}


def check(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: {got!r}, not {expected!r}")


class Child:
    """A program in the foreground, with what it says in a log."""

    def __init__(self, name, *command):
        self.name = name
        self.log = LOGS / f"proxies-boards-{name}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Node(Child):
    def __init__(self, name, port):
        super().__init__(f"{name}-{port}", WSECHO, "--listen", f"127.0.0.1:{port}", "--policy", "off", "--log-level", "debug")

    def boards(self):
        """The boards that anybody came to on this node."""
        text = self.log.read_text()
        return {board for board in BOARDS if f"joins board {board} " in text}


async def until(what, holds):
    for _ in range(PATIENCE * 20):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not in {PATIENCE} s: {what}")


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def join(port, board):
    return await asyncio.wait_for(websockets.connect(f"ws://127.0.0.1:{port}/board/{board}", compression=None), PATIENCE)


async def hear(member):
    """The next message, or what there is instead."""
    try:
        return await asyncio.wait_for(member.recv(), PATIENCE)
    except asyncio.TimeoutError:
        return "nothing"
    except websockets.ConnectionClosed:
        return "the end"


async def meet(members):
    """Each member speaks, and all the others hear it."""
    for at, speaker in enumerate(members):
        await speaker.send(f"from {at}")
        for other in members:
            if other is not speaker:
                check("a member hears", await hear(other), f"from {at}")


async def rejoin(port, board):
    """Both members of a board come back; who comes before the proxy knows what happened may have to try again."""
    for _ in range(20):
        try:
            return [await join(port, board), await join(port, board)]
        except (OSError, websockets.WebSocketException):
            await asyncio.sleep(0.25)
    raise AssertionError(f"no way back to {board}")


async def behind(name, port, command):
    nodes = [Node(name, node) for node in NODES]
    proxy = Child(name, *command)
    try:
        for each in (*NODES, port):
            await until(f"something on port {each}", lambda: accepts(each))
        # A query is none of the board's business.
        members = {board: [await join(port, board), await join(port, f"{board}?as=guest"), await join(port, board)] for board in BOARDS}
        for board in BOARDS:
            await meet(members[board])
        homes = {node: node.boards() for node in nodes}
        check("boards of all nodes", sorted(board for boards in homes.values() for board in boards), sorted(BOARDS))
        check("nodes with boards", sum(map(bool, homes.values())), len(NODES))
        print(f"proxies: {name}: {len(BOARDS)} boards on {[len(boards) for boards in homes.values()]}, members meet")

        dead = nodes[0]
        dead.kill()
        for board in BOARDS:
            if board in homes[dead]:
                for member in members[board]:
                    check("a member of the dead node hears", await hear(member), "the end")
            else:
                await meet(members[board])
        print(f"proxies: {name}: a node is killed, the members on the others carry on")

        for board in sorted(homes[dead]):
            await meet(await rejoin(port, board))
        for node in nodes[1:]:
            check(f"boards that {node.name} kept", homes[node] <= node.boards(), True)
        for board in BOARDS:
            if board not in homes[dead]:
                # Newcomers find the old members, too.
                members[board].append(await join(port, board))
                await meet(members[board])
        print(f"proxies: {name}: its boards go on elsewhere")
    finally:
        for child in (proxy, *nodes):
            child.kill()


async def main():
    for name, (port, command) in PROXIES.items():
        await behind(name, port, command)


asyncio.run(main())
