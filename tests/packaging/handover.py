"""Hands one port from server to server under a stream of connects. Runs in a network of its own, as `handover` starts it.

usage: handover.py WSECHO
"""

import collections
import signal
import socket
import subprocess
import sys
import threading
import time

WSECHO = sys.argv[1]
HANDOVERS, CLIENTS, PATIENCE = 20, 8, 30
ADDRESS = '127.0.0.1', 8087
REQUEST = (b'GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
           b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
HELLO, ECHO, GOING_AWAY = b'\x81\x85\0\0\0\0hello', b'\x81\x05hello', b'\x88\x11\x03\xe9'


class Server:
    def __init__(self):
        self.process = subprocess.Popen(
            [WSECHO, '--listen', '{}:{}'.format(*ADDRESS), '--policy', 'off', '--reuse-port'], stderr=subprocess.PIPE)
        for line in self.process.stderr:
            if b'listening on' in line:
                break
        else:
            sys.exit('handover: a server did not start')
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def leave(self, come):
        """Leaves while clients wait to be let in; `come` makes one more come, to this server or to the other."""
        self.process.send_signal(signal.SIGSTOP)
        while waiting() < CLIENTS:
            come()
            time.sleep(0.001)
        self.process.send_signal(signal.SIGTERM)
        self.process.send_signal(signal.SIGCONT)
        if status := self.process.wait(PATIENCE):
            sys.exit(f'handover: a server ended with {status}')


def waiting():
    """How many clients are in the queues of servers (proc(5): of a listening socket, st 0A, the receive queue)."""
    with open('/proc/net/tcp') as sockets:
        fields = [line.split() for line in sockets]
    return sum(int(field[4].split(':')[1], 16) for field in fields if field[3] == '0A')


def visit():
    """Connects, and says what came of it: an echo, or a Close with 1001 from a server that leaves; all else is a loss."""
    try:
        with socket.create_connection(ADDRESS, PATIENCE) as client:
            stream = client.makefile('rb')
            client.sendall(REQUEST)
            if not stream.readline().startswith(b'HTTP/1.1 101 '):
                return 'no 101'
            while stream.readline().strip():
                pass
            # A server that leaves may have said so and gone by now.
            try:
                client.sendall(HELLO)
            except OSError:
                pass
            answer = stream.read(4)
            if answer == GOING_AWAY:
                return 'told to go'
            return 'echoed' if answer + stream.read(3) == ECHO else f'answer: {answer!r}'
    except OSError as error:
        return type(error).__name__


def hand_over(migrate):
    """The number of visits by how they ended, during some hand-overs."""
    subprocess.run(['sysctl', '-qw', f'net.ipv4.tcp_migrate_req={migrate}'], check=True)
    ends = []
    over = threading.Event()
    clients = []

    def come(is_over=lambda: True):
        def client():
            while True:
                ends.append(visit())
                if is_over():
                    break

        clients.append(threading.Thread(target=client, daemon=True))
        clients[-1].start()

    server = Server()
    for _ in range(CLIENTS):
        come(over.is_set)
    for _ in range(HANDOVERS):
        # Each server has been visited before it leaves.
        seen = len(ends)
        while len(ends) < seen + 20 * CLIENTS:
            time.sleep(0.01)
        old, server = server, Server()
        old.leave(come)
    over.set()
    for each in clients:
        each.join(PATIENCE)
    server.process.terminate()
    server.process.wait(PATIENCE)
    visits = collections.Counter(ends)
    lost = sum(count for end, count in visits.items() if end not in ('echoed', 'told to go'))
    print(f'handover: tcp_migrate_req={migrate}: {HANDOVERS} hand-overs, {len(ends)} clients, {lost} lost; {dict(visits)}')
    if visits['echoed'] < HANDOVERS * CLIENTS:
        sys.exit('handover: hardly anybody was served')
    return lost


# What the kernel does without it is only worth knowing.
hand_over(0)
if hand_over(1):
    sys.exit('handover: clients were lost')
