"""Who reaches a server that was told no address. Runs in a network of its own, as `families` starts it.

usage: families.py WSECHO
"""

import signal
import socket
import subprocess
import sys

WSECHO, PATIENCE = sys.argv[1], 30
REQUEST = (b'GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
           b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n')
POLICY = b'<policy-file-request/>\0'
BOTH = ['127.0.0.1', '::1']
# The first and third socket are tried with IPv6, the second and fourth are what is left.
NO_IPV6 = ['strace', '-D', '-qq', '-o', '/dev/null', '-e', 'trace=socket', '-e', 'inject=socket:error=EAFNOSUPPORT:when=1+2']


def setting(name, value):
    subprocess.run(['sysctl', '-qw', f'net.ipv6.{name}={value}'], check=True)


def reached(address, port, hello):
    """The first bytes with which a client at this address is answered; empty where nobody is."""
    try:
        with socket.create_connection((address, port), PATIENCE) as client:
            client.sendall(hello)
            return client.recv(12)
    except OSError:
        return b''


def check(what, options, echoed, policed, tracer=(), port=8087):
    """Whether clients of these addresses are served echo and policy, and others are not."""
    process = subprocess.Popen([*tracer, WSECHO, '--log-level', 'debug', *options], stderr=subprocess.PIPE, text=True)
    log = []
    for line in process.stderr:
        log.append(line)
        if line.startswith('wsecho: up to '):
            break
    served = [address for address in BOTH if reached(address, port, REQUEST) == b'HTTP/1.1 101']
    told = [address for address in BOTH if reached(address, 843, POLICY).startswith(b'<cross-domai')]
    process.send_signal(signal.SIGTERM)
    log += process.stderr
    if process.wait(PATIENCE):
        sys.exit(f'families: {what}: {log}')
    if (served, told) != (echoed, policed):
        sys.exit(f'families: {what}: echo at {served}, not {echoed}; policy at {told}, not {policed}: {log}')
    if any('::ffff:' in line for line in log):
        sys.exit(f'families: {what}: a client of IPv4 is logged with an address of IPv6: {log}')
    print(f'families: {what}: echo at {served}, policy at {told}')


check('as it comes', [], BOTH, BOTH)
check('an address of IPv4', ['--listen', '0.0.0.0:8087', '--policy', '127.0.0.1:843'], BOTH[:1], BOTH[:1])
with open('/etc/hosts', 'w') as hosts:
    hosts.write('127.0.0.1 both.test\n::1 both.test\n127.0.0.1 both.test again\n')
check('a name of both', ['--listen', 'both.test:8087', '--policy', 'both.test:843'], BOTH, BOTH)
setting('bindv6only', 1)
check('bindv6only', [], BOTH, BOTH)
check('bindv6only, and the address asked for', ['--listen', '[::]:8087'], BOTH[1:], BOTH)
setting('bindv6only', 0)
check('no IPv6 in the kernel', ['--listen', ':9000'], BOTH[:1], BOTH[:1], NO_IPV6, 9000)
setting('conf.all.disable_ipv6', 1)
check('IPv6 switched off', [], BOTH[:1], BOTH[:1])
check('localhost, IPv6 switched off', ['--listen', 'localhost:8087', '--policy', 'localhost:843'], BOTH[:1], BOTH[:1])
