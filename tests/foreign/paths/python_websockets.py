"""Python's websockets against a server at URL. usage: python_websockets.py URL CASES"""

import asyncio
import json
import sys
import time

import websockets

PATIENCE = 5


def late(case, started):
    if "late" not in case:
        return ""
    return " late" if time.monotonic() - started >= 0.95 * case["late"] / 1000 else " too early"


def closed(ws, case, started, seen):
    told = "" if any("late" in each for each in seen) else late(case, started)
    error = ws.protocol.close_exc
    if ws.protocol.parser_exc is not None:
        return f"closed {ws.close_code}{told}: {ws.protocol.parser_exc}"
    if error.rcvd is None:
        return f"closed {ws.close_code}{told}: {error}"
    reason = f' "{ws.close_reason}"' if ws.close_reason else ""
    return f"closed {ws.close_code}{reason}{told}"


async def converse(ws, case, started, seen):
    if case.get("show") == "protocol":
        seen.append(f"subprotocol {ws.subprotocol or 'none'}")
    if case.get("show") == "extensions":
        seen.append(ws.response.headers.get("Sec-WebSocket-Extensions", "no extension"))
    if case.get("show") == "cookie":
        seen.append(f"header {ws.response.headers['Set-Cookie']}")
    for text in case.get("say", []):
        await ws.send(text)
    if case.get("ping"):
        pong = await ws.ping()
        try:
            await asyncio.wait_for(pong, 1)
            return "pong"
        except asyncio.TimeoutError:
            return "open, no pong"
    messages = 0
    try:
        while messages != case.get("until"):
            message = await asyncio.wait_for(ws.recv(), PATIENCE)
            messages += 1
            if case.get("show") == "offer":
                offered = json.loads(message)["extensions"]["offered"]
                seen.append(f"offers {', '.join(offered) or 'no extension'}")
            elif isinstance(message, str):
                seen.append(json.dumps(message) + late(case, started))
        await ws.close()
    except asyncio.TimeoutError:
        return "open"
    except websockets.ConnectionClosed:
        pass
    if messages > 3:
        seen.append(f"{messages} messages of {len(message)} bytes")
    await ws.wait_closed()
    return closed(ws, case, started, seen)


async def attempt(url, case):
    started, seen = time.monotonic(), []
    base = url.replace("//", f"//{case['user']}@") if "user" in case else url
    options = {"subprotocols": case.get("protocols"), "open_timeout": PATIENCE, "close_timeout": 1}
    try:
        ws = await websockets.connect(f"{base}/ws/{case['path']}", ping_interval=None, **options)
    except TimeoutError:
        return "no answer"
    except Exception as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        return f"failed: {type(error).__name__}: {error}{cause}"
    seen.append(await converse(ws, case, started, seen))
    ws.transport.abort()
    return "; ".join(seen)


async def main():
    url, cases = sys.argv[1:]
    print(json.dumps(await asyncio.gather(*(attempt(url, case) for case in json.loads(cases)))))


asyncio.run(main())
