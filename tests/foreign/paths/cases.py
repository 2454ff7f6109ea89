"""What is asked of each client: one case a line of the table in ../README.md, for every step at least one.

A case is a path under /ws and what the client does: `say` is sent once it is open; `until` so many messages have come it
closes with 1000, with 0 at once; `late` is how many milliseconds at least everything takes that it then sees; `ping` has it
ping and wait; `protocols` it offers; `user` it brings along in the URL; `show` names what else there is to see.
"""

import json

HELLO = ["hello"]
CASES = [
    {"name": "status/503"},
    {"name": "redirect/1", "path": "redirect/1/message/here/close/1000"},
    {"name": "redirect-to?url=/ws/echo", "path": "redirect-to?url=%2Fws%2Fecho", "until": 0},
    {"name": "basic-auth/user/secret", "path": "basic-auth/user/secret/close/1000"},
    {"name": "the same, user:secret in the URL", "path": "basic-auth/user/secret/close/1000", "user": "user:secret"},
    {"name": "bearer/token", "path": "bearer/token/close/1000"},
    {"name": "handshake-delay/500ms", "path": "handshake-delay/500ms/close/1000", "late": 500},
    {"name": "handshake-stall"},
    {"name": "subprotocol/mqtt, not offered", "path": "subprotocol/mqtt/close/1000"},
    {"name": "subprotocol/mqtt, offered", "path": "subprotocol/mqtt/close/1000", "protocols": ["a", "mqtt"], "show": "protocol"},
    {"name": "no-subprotocol, one offered", "path": "no-subprotocol/close/1000", "protocols": ["a"], "show": "protocol"},
    {"name": "header/Set-Cookie/…", "path": "header/Set-Cookie/wsecho%3D1%3B%20Path%3D%2F/close/1000", "show": "cookie"},
    {"name": "no-deflate", "path": "no-deflate/close/1000", "show": "extensions"},
    {
        "name": "deflate/…no_context_takeover",
        "path": "deflate/server_no_context_takeover;client_no_context_takeover/after/2/close/1000",
        "show": "extensions",
        "say": ["hello", "hello"],
    },
    {"name": "message/hello", "path": "message/hello/close/1000"},
    {"name": "repeat/tick/20", "path": "repeat/tick/20", "until": 3},
    {"name": "source/1k/100", "path": "source/1k/100/close/1000"},
    {"name": "headers", "path": "headers/close/1000", "show": "offer"},
    {"name": "ping/2", "path": "ping/2/message/ponged/close/1000"},
    {"name": "delay/500ms", "path": "delay/500ms/message/late/close/1000", "late": 500},
    {"name": "after/1", "path": "after/1/close/4000?reason=enough", "say": HELLO},
    {"name": "latency/500ms", "path": "latency/500ms/after/1/close/1000", "say": HELLO, "late": 500},
    {"name": "fragment/2", "path": "fragment/2/message/fragments/close/1000"},
    {"name": "unfinished", "path": "unfinished/message/hello/after/1/close/1000", "say": HELLO},
    {"name": "trickle/1", "path": "trickle/1/message/hello/close/1000"},
    {"name": "limit/3", "say": HELLO},
    {"name": "throttle/16", "path": "throttle/16/after/1/close/1000", "say": HELLO, "late": 500},
    {"name": "mute", "ping": True},
    {"name": "no-close", "until": 0},
    {"name": "close-late/500ms", "until": 0, "late": 500},
    {"name": "echo", "say": HELLO, "until": 1},
    {"name": "sink", "say": HELLO},
    {"name": "size", "say": HELLO, "until": 1},
    {"name": "stall/500ms", "say": HELLO, "until": 1, "late": 500},
    {"name": "close"},
    {"name": "close/4000?reason=bye"},
    {"name": "half-close"},
    {"name": "reset"},
    {"name": "fin"},
]
HANDSHAKES = (
    "accept no-accept two-accepts upgrade no-upgrade connection no-connection protocol two-protocols extension "
    "extension-parameter two-extensions status-line version nul no-cr non-ascii long-header folded truncated"
)
CASES += [{"name": f"bad-handshake/{what}", "path": f"bad-handshake/{what}/message/hello/close/1000"} for what in HANDSHAKES.split()]
FRAMES = (
    "masked rsv1 rsv2 rsv3 opcode-3 ping-long ping-fragmented ping-compressed continuation interleaved utf8 length too-long "
    "truncated deflate close-1 close-1005"
)
CASES += [{"name": f"bad-frame/{what}"} for what in FRAMES.split()]
for case in CASES:
    case.setdefault("path", case["name"])

if __name__ == "__main__":
    print(json.dumps(CASES))
