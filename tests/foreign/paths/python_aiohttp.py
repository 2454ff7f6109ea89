"""Python's aiohttp against a server at URL. usage: python_aiohttp.py URL CASES"""

import asyncio
import json
import sys
import time

import aiohttp

PATIENCE = 5


def late(case, started):
    if "late" not in case:
        return ""
    return " late" if time.monotonic() - started >= 0.95 * case["late"] / 1000 else " too early"


async def converse(ws, case, started, seen):
    if case.get("show") == "protocol":
        seen.append(f"subprotocol {ws.protocol or 'none'}")
    if case.get("show") == "extensions":
        seen.append(ws._response.headers.get("Sec-WebSocket-Extensions", "no extension"))
    if case.get("show") == "cookie":
        seen.append(f"cookie {ws._response.cookies['wsecho'].OutputString()}")
    for text in case.get("say", []):
        await ws.send_str(text)
    messages, why = 0, ""
    while messages != case.get("until"):
        message = await ws.receive(timeout=PATIENCE)
        if message.type == aiohttp.WSMsgType.ERROR:
            why = f": {message.data}"
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            break
        messages += 1
        size = len(message.data)
        if case.get("show") == "offer":
            offered = json.loads(message.data)["extensions"]["offered"]
            seen.append(f"offers {', '.join(offered) or 'no extension'}")
        elif message.type == aiohttp.WSMsgType.TEXT:
            seen.append(json.dumps(message.data) + late(case, started))
    else:
        await ws.close()
        message = None
    if messages > 3:
        seen.append(f"{messages} messages of {size} bytes")
    told = "" if any("late" in each for each in seen) else late(case, started)
    reason = f' "{message.extra}"' if message is not None and message.extra else ""
    if ws.exception() and not why:
        why = f": {type(ws.exception()).__name__}: {ws.exception()}"
    return f"closed {ws.close_code}{reason}{told}{why}"


async def attempt(session, url, case):
    started, seen = time.monotonic(), []
    base = url.replace("//", f"//{case['user']}@") if "user" in case else url
    heartbeat = 1 if case.get("ping") else None
    timeout = aiohttp.ClientWSTimeout(ws_close=1)
    connect = session.ws_connect(
        f"{base}/ws/{case['path']}",
        protocols=case.get("protocols", ()),
        compress=15,
        heartbeat=heartbeat,
        timeout=timeout,
    )
    try:
        ws = await asyncio.wait_for(connect, PATIENCE)
    except asyncio.TimeoutError:
        return "no answer"
    except Exception as error:
        text = " ".join(str(getattr(error, "message", "") or error).split())
        return f"failed: {type(error).__name__}: {getattr(error, 'status', '')} {text}".replace(":  ", ": ")
    try:
        seen.append(await converse(ws, case, started, seen))
    except asyncio.TimeoutError:
        seen.append("open")
    return "; ".join(seen)


async def main():
    url, cases = sys.argv[1:]
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()) as session:
        print(json.dumps(await asyncio.gather(*(attempt(session, url, case) for case in json.loads(cases)))))


asyncio.run(main())
