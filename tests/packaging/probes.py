"""Asks a server with the arguments of the Deployment in FILE what its probes ask, as the kubelet would.

A ready server answers both; one that drains, since a client takes its time, stays alive and is not ready any more.
usage: probes.py FILE WSECHO
"""

import http.client
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import yaml

PATIENCE = 30  # seconds


def free():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            sys.exit(f"probes: not {what}")
        time.sleep(0.05)


class Container:
    """The container of the Deployment, its ports replaced by free ones."""

    def __init__(self, spec, program):
        self.spec = spec
        self.ports = {port["name"]: free() for port in spec["ports"]}
        numbers = {str(port["containerPort"]): str(self.ports[port["name"]]) for port in spec["ports"]}
        # The echo's port is the default one, and the policy is off, as in the Dockerfile.
        arguments = [numbers.get(argument, argument) for argument in spec["args"]]
        self.process = subprocess.Popen([program, "--policy", "off", "--listen", str(self.ports["echo"]), *arguments])

    def status(self, probe):
        """What the probe is answered; 200 to 399 is good."""
        get = self.spec[probe]["httpGet"]
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[get["port"]], timeout=PATIENCE)
        try:
            connection.request("GET", get["path"], headers={"User-Agent": "kube-probe/1.31", "Connection": "close"})
            return connection.getresponse().status
        except OSError:
            return 0

    def both(self):
        return self.status("livenessProbe"), self.status("readinessProbe")


def main(file, program):
    dockerfile = pathlib.Path("Dockerfile").read_text()
    documents = {document["kind"]: document for document in yaml.safe_load_all(pathlib.Path(file).read_text())}
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (spec,) = pod["containers"]
    # What the files say has to agree with each other and with the image.
    assert f"EXPOSE {spec['ports'][0]['containerPort']}\n" in dockerfile
    assert f"USER {spec['securityContext']['runAsUser']}:" in dockerfile
    assert documents["Service"]["spec"]["ports"][0]["targetPort"] == spec["ports"][0]["name"]
    drain = spec["args"][spec["args"].index("--drain-timeout") + 1]
    assert int(re.fullmatch(r"(\d+)s", drain)[1]) < pod["terminationGracePeriodSeconds"]

    container = Container(spec, program)
    try:
        until("ready", lambda: container.both() == (200, 200))
        client = socket.create_connection(("127.0.0.1", container.ports["echo"]))
        client.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 101 ")
        container.process.send_signal(signal.SIGTERM)
        until("draining: alive and not ready", lambda: container.both() == (200, 503))
        client.close()
        assert container.process.wait(PATIENCE) == 0
    finally:
        container.process.kill()
    print("kubernetes: the probes are answered, and while it drains the server is alive and not ready")


main(*sys.argv[1:])
