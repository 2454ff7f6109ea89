import asyncio
import sys

import aiohttp
from conversation import MESSAGES, check, done, echo


async def main(address):
    async with aiohttp.ClientSession() as session:
        url = f"ws://{address}/echo"
        async with session.ws_connect(url, protocols=("chat",), compress=15, max_msg_size=0) as ws:
            deflate, protocol = ws.compress, ws.protocol
            for message in MESSAGES:
                await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
                echo((await ws.receive()).data, message)
            await ws.close(code=4000, message=b"so long")
            check("code of our own Close", ws.close_code, 4000)
        async with session.ws_connect(url) as ws:
            await ws.send_str("quit")
            check("what quit gives", (await ws.receive()).type, aiohttp.WSMsgType.CLOSE)
            check("code after quit", ws.close_code, 1000)
    done("Python aiohttp", aiohttp.__version__, deflate, protocol, "close codes 4000, 1000")


asyncio.run(main(sys.argv[1]))
