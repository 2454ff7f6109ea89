"""WebKitGTK (Safari's engine) against the server at ADDRESS:PORT, by WebDriver: the test page, and closes by the server.

Wants an X display. usage: webkit.py ADDRESS:PORT ROUNDS
"""

import json
import subprocess
import sys
import time
import urllib.request

from conversation import check, done

ADDRESS, ROUNDS = sys.argv[1], int(sys.argv[2])
DRIVER = "http://127.0.0.1:4567"
QUITS = """
const [url, rounds, done] = arguments, ends = {};
const next = (left) => {
  if (!left) return done(JSON.stringify(ends));
  const ws = new WebSocket(url, ["chat"]);
  ws.onopen = () => ws.send("quit");
  ws.onclose = ({ code, wasClean }) => {
    const end = `${code} ${wasClean ? "clean" : "unclean"}`;
    ends[end] = (ends[end] || 0) + 1;
    next(left - 1);
  };
};
next(rounds);
"""
ECHOES = """
const [url, done] = arguments, ws = new WebSocket(url, ["chat"]);
ws.binaryType = "arraybuffer";
const messages = [0, 1, 125, 126, 65535, 65536, 1 << 20].flatMap((size) => ["\\u00e9".repeat(size >> 1), new Uint8Array(size).fill(7)]);
let at = 0;
ws.onopen = () => ws.send(messages[0]);
ws.onmessage = ({ data }) => {
  const message = messages[at];
  const same = typeof message === "string" ? data === message : new Uint8Array(data).every((byte) => byte === 7) && data.byteLength === message.length;
  if (!same) return done(`message ${at} differs`);
  if (++at < messages.length) ws.send(messages[at]);
  else done(`${ws.protocol}|${ws.extensions}`);
};
"""


def ask(path, body=None, method=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(DRIVER + path, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["value"]


def main():
    options = {"binary": sys.argv[3], "args": ["--automation"]}
    wanted = {"capabilities": {"alwaysMatch": {"browserName": "MiniBrowser", "webkitgtk:browserOptions": options, "timeouts": {"script": 90000}}}}
    for _ in range(50):
        try:
            session = ask("/session", wanted)
            break
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                sys.exit(error.read().decode())
            time.sleep(0.2)
    base = f"/session/{session['sessionId']}"
    version = session["capabilities"]["browserVersion"]

    def run(script, *args):
        return ask(f"{base}/execute/sync", {"script": script, "args": list(args)})

    def until(what, script):
        for _ in range(150):
            if run(f"return {script}"):
                return
            time.sleep(0.2)
        sys.exit(f"not {what}: {run('return document.body.innerText')[:2000]}")

    ask(f"{base}/url", {"url": f"http://{ADDRESS}/"})
    run("document.querySelector('#connect').click()")
    until("connected", "document.querySelector('#log').textContent.includes('connection established.')")
    run("document.querySelector('#send').click()")
    until("echoed", """document.querySelector('#log').textContent.includes("message received: 'Hello, echo'")""")
    run("document.querySelector('#disconnect').click()")
    until("closed", "document.querySelector('#log').textContent.includes('connection closed. (1000')")
    agreed = ask(f"{base}/execute/async", {"script": ECHOES, "args": [f"ws://{ADDRESS}/echo"]}).split("|")
    check("subprotocol", agreed[0], "chat")
    ends = ask(f"{base}/execute/async", {"script": QUITS, "args": [f"ws://{ADDRESS}/echo", ROUNDS]})
    check("ends", json.loads(ends), {"1000 clean": ROUNDS})
    ask(f"{base}/url", {"url": f"http://{ADDRESS}/board/webkit"})
    until("on a board", "document.querySelector('#participants').textContent === '1'")
    ask(base, method="DELETE")
    done("WebKitGTK", version, "deflate" in agreed[1], agreed[0], "page, board, many closes by the server, all clean")


driver = subprocess.Popen(["WebKitWebDriver", "--host=127.0.0.1", "--port=4567"])
try:
    main()
finally:
    driver.terminate()
