"""Real clients through real proxies to the server. Runs in a network namespace of its own, as `run` starts it.

usage: check.py WSECHO DIRECTORY-FOR-LOGS
"""

import asyncio
import contextlib
import hashlib
import http.server
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import websockets

HERE = Path(__file__).parent
RUN = Path('/run/wsecho')
WSECHO, LOGS = sys.argv[1], Path(sys.argv[2])
PATIENCE = 30
# Where every proxy has the server: over TCP, over a Unix socket, and with PROXY.
PLAIN = {'nginx': 80, 'nginx, unix': 81, 'nginx stream, PROXY v1': 82, 'HAProxy': 8000, 'HAProxy, unix': 8001,
         'HAProxy, PROXY v2': 8002, 'HAProxy, PROXY v1': 8003}
TLS = {'nginx': 443, 'HAProxy': 8443}


def check(what, got, expected):
    if got != expected:
        raise AssertionError(f'{what}: {got!r}, not {expected!r}')


class Child:
    """A program in the foreground, which is ended with the block."""

    def __init__(self, stack, name, *command):
        self.log = LOGS / f'proxies-{name}.log'
        with self.log.open('wb') as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        stack.callback(self.end)

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def says(self, pattern):
        return re.search(pattern, self.log.read_text(), re.MULTILINE)


async def until(what, holds):
    """Waits for what has to become true."""
    for _ in range(PATIENCE * 20):
        if holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f'not in {PATIENCE} s: {what}')


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(('127.0.0.1', port)) == 0


async def echo(ws):
    messages = ['hello', 'κόσμε ✓', b'', bytes(range(256)), 'x' * 100_000, b'\0' * 70_000]
    for message in messages:
        await ws.send(message)
    for message in messages:
        check('echo', await ws.recv() == message, True)


async def through_everything():
    """The echo through every proxy, and a close."""
    for name, port in PLAIN.items():
        async with websockets.connect(f'ws://127.0.0.1:{port}/echo', max_size=None) as ws:
            await echo(ws)
            await ws.close(4000, 'so long')
            check(name, (ws.close_code, ws.close_reason), (4000, 'so long'))
        print(f'proxies: {name}: 101, echo, close')
    for name, port in TLS.items():
        trusting = ssl.create_default_context(cafile=RUN / 'cert.pem')
        async with websockets.connect(f'wss://localhost:{port}/echo', ssl=trusting, max_size=None) as ws:
            await echo(ws)
        print(f'proxies: {name}: wss:// from Python')


async def addresses(server):
    """With PROXY the server's log has the client's address and not the proxy's."""
    for name, port in PLAIN.items():
        if 'PROXY' in name:
            source = socket.create_connection(('127.0.0.1', port), source_address=('127.0.0.5', 0))
            address = '{}:{}'.format(*source.getsockname())
            async with websockets.connect('ws://localhost/echo', sock=source) as ws:
                await ws.send('from ' + address)
                await ws.recv()
            await until(f'{name}: ({address}) in the log', lambda: server.says(rf'\({re.escape(address)}\)$'))
            print(f'proxies: {name}: the log has the address of the client')


def hixie_76(name, port):
    """A client of draft-hixie-thewebsocketprotocol-76; nginx keeps its last eight bytes until it has seen the 101."""
    keys = '4 @1  46546xW%0l 1 5', '12998 5 Y3 1  .P00'
    host = f'localhost:{port}'
    with socket.create_connection(('127.0.0.1', port), PATIENCE) as client:
        client.sendall(
            f'GET /echo HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: {host}\r\n'
            f'Origin: http://example.com\r\nSec-WebSocket-Key1: {keys[0]}\r\nSec-WebSocket-Key2: {keys[1]}\r\n\r\n'
            '^n:ds[4U'.encode()
        )
        stream = client.makefile('rb')
        check(f'{name}: status', stream.readline().split()[:2], [b'HTTP/1.1', b'101'])
        head = dict(line.rstrip().split(b': ') for line in iter(stream.readline, b'\r\n'))
        check(f'{name}: location', head[b'Sec-WebSocket-Location'], f'ws://{host}/echo'.encode())
        numbers = [int(re.sub(r'\D', '', key)) // key.count(' ') for key in keys]
        challenge = struct.pack('>II', *numbers) + b'^n:ds[4U'
        check(f'{name}: answer to the challenge', stream.read(16), hashlib.md5(challenge).digest())
        client.sendall(b'\0hello\xff')
        check(f'{name}: echo', stream.read(7), b'\0hello\xff')
        client.sendall(b'\xff\0')
        check(f'{name}: close', stream.read(), b'\xff\0')
    print(f'proxies: {name}: Hixie-76')


PAGE = b"""<!doctype html><script>
const ask = (port) => new Promise((resolve) => {
  const ws = new WebSocket(`wss://localhost:${port}/echo`);
  ws.onopen = () => ws.send('from a browser');
  ws.onmessage = ({ data }) => { resolve(data); ws.close(); };
  ws.onclose = ({ code }) => resolve(`closed: ${code}`);
});
(async () => fetch('/result', { method: 'POST', body: await ask(443) + ', ' + await ask(8443) }))();
</script>"""


async def chromium():
    """A browser that trusts the certificate, on a page that speaks wss:// to both proxies and tells what it heard."""
    results = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, body):
            self.send_response(200)
            self.send_header('Content-Type', 'text/html')
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            self.answer(PAGE)

        def do_POST(self):
            results.append(self.rfile.read(int(self.headers['Content-Length'])).decode())
            self.answer(b'')

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server, contextlib.ExitStack() as stack:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.callback(server.shutdown)
        profile = stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        Child(stack, 'chromium', 'chromium', '--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
              '--disable-background-networking', '--ignore-certificate-errors', f'--user-data-dir={profile}',
              f'http://127.0.0.1:{server.server_port}/')
        await until('a result from Chromium', lambda: results)
    check('Chromium', results, ['from a browser, from a browser'])
    print('proxies: nginx, HAProxy: wss:// from Chromium')


async def idle(controls):
    """Both proxies cut a connection that is silent for 60 s; --ping-interval keeps it from being silent."""

    async def cut(port):
        async with websockets.connect(f'ws://127.0.0.1:{port}/echo', ping_interval=None) as ws:
            await ws.wait_closed()

    kept = [await websockets.connect(f'ws://127.0.0.1:{port}/echo', ping_interval=None) for port in (80, 82, 8000)]
    await asyncio.gather(*map(cut, controls))
    print('proxies: without --ping-interval an idle connection is cut')
    await asyncio.sleep(10)
    for ws in kept:
        await echo(ws)
        await ws.close()
    print('proxies: with it it is still there ten seconds later')


def certificate():
    subprocess.run(
        ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost',
         '-addext', 'subjectAltName=DNS:localhost', '-keyout', RUN / 'key.pem', '-out', RUN / 'cert.pem'],
        check=True, stderr=subprocess.DEVNULL)
    both = (RUN / 'cert.pem').read_text() + (RUN / 'key.pem').read_text()
    (RUN / 'cert-and-key.pem').write_text(both)


def health():
    """What HAProxy's own check of the server behind its first backend came to: status, how it was told, and the code."""
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(RUN / 'shown-haproxy.sock'))
        admin.sendall(b'show stat\n')
        lines = admin.makefile().read().lstrip('# ').splitlines()
    rows = [dict(zip(lines[0].split(','), line.split(','))) for line in lines[1:]]
    [server] = [row for row in rows if (row.get('pxname'), row.get('svname')) == ('tcp', 'a')]
    return [server['status'], server['check_status'].lstrip('* '), server['check_code']]


async def main():
    certificate()
    with contextlib.ExitStack() as stack:
        def wsecho(name, *options):
            return Child(stack, name, WSECHO, '--policy', 'off', *options)

        def proxies(name, configuration_of):
            for proxy, command in {
                'nginx': ('nginx', '-g', f'daemon off; user root; error_log stderr; pid {RUN}/{name}-nginx.pid;', '-c'),
                'haproxy': ('haproxy', '-db', '-f'),
            }.items():
                path = RUN / f'{name}-{proxy}'
                path.write_text(configuration_of((HERE / ('nginx.conf' if proxy == 'nginx' else 'haproxy.cfg')).read_text()))
                command += (str(path),)
                if proxy == 'haproxy':
                    admin = RUN / f'{name}-admin'
                    admin.write_text(f'global\n    stats socket {RUN}/{name}-haproxy.sock\n')
                    command += ('-f', str(admin))
                Child(stack, f'{name}-{proxy}', *command)

        servers = [
            wsecho('wsecho', '--listen', '127.0.0.1:8087', '--listen', f'unix:{RUN}/echo.sock', '--ping-interval', '20',
                   '--stats', '127.0.0.1:9087'),
            wsecho('wsecho-proxied', '--listen', '127.0.0.1:8088', '--proxy-protocol', '--ping-interval', '20',
                   '--log-level', 'debug'),
            wsecho('wsecho-silent', '--listen', '127.0.0.1:8089'),
        ]
        for server in servers:
            await until(f'{server.log} says where it listens', lambda: server.says('listening on'))
        proxies('shown', lambda text: text)
        # The same, on ports a thousand higher, in front of a server that does not ping.
        port = lambda match: match[1] + str(int(match[2]) + 1000)
        proxies('control', lambda text: re.sub(r'(listen |bind :)(\d+)', port, text).replace(':8087', ':8089'))
        for port in [*PLAIN.values(), *TLS.values(), 1080, 9000]:
            await until(f'a proxy on port {port}', lambda: accepts(port))

        await until('HAProxy finds the server healthy', lambda: health() == ['UP', 'L7OK', '200'])
        print('proxies: HAProxy asks /healthz as it does by default, and is told')

        waiting = asyncio.create_task(idle([1080, 9000]))
        await through_everything()
        await addresses(servers[1])
        for name in ['nginx', 'nginx, unix', 'HAProxy, PROXY v2']:
            await asyncio.to_thread(hixie_76, name, PLAIN[name])
        await chromium()
        await asyncio.wait_for(waiting, 100)
    print('proxies: all good')


asyncio.run(main())
