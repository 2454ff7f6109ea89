-- lua-http against the server at ADDRESS:PORT. usage: lua-http.lua ADDRESS:PORT
local websocket = require "http.websocket"
local url = "ws://" .. arg[1] .. "/echo"
local limit = 120

local function dial()
	local ws = websocket.new_from_uri(url, {"chat"})
	assert(ws:connect(limit))
	return ws
end

-- It takes a header to have all of a frame of less than 64 KiB behind it, and gives up where the network cuts one. So the whole
-- frame, header and payload, is to be in its buffer first.
local function await(ws, length)
	local header = length < 126 and 2 or length < 65536 and 4 or 10
	assert(ws.socket:fill(header + length, limit))
end

local ws = dial()
for _, size in ipairs {0, 1, 125, 126, 65535, 65536, 1048576} do
	for _, kind in ipairs {"text", "binary"} do
		local message = string.rep("x", size)
		assert(ws:send(message, kind, limit))
		await(ws, size)
		local echo, back = ws:receive(limit)
		assert(echo == message and back == kind, "another echo of " .. size)
	end
end
assert(ws:close(4000, "so long", limit))
local quit = dial()
assert(quit:send("quit", "text", limit))
await(quit, 2)
local message, _, code = quit:receive(limit)
assert(message == nil and code == 1000 or quit.got_close_code == 1000, "no Close 1000 after quit")
print(table.concat({"lua-http", require "http.version".version, "13", "no", ws.protocol or "none", "close codes 4000 (sent), 1000"}, "\t"))
