-- lua-http against the server at ADDRESS:PORT. usage: lua-http.lua ADDRESS:PORT
local websocket = require "http.websocket"
local url = "ws://" .. arg[1] .. "/echo"

local function dial()
	local ws = websocket.new_from_uri(url, {"chat"})
	assert(ws:connect(30))
	return ws
end

local ws = dial()
for _, size in ipairs {0, 1, 125, 126, 65535, 65536, 1048576} do
	for _, kind in ipairs {"text", "binary"} do
		local message = string.rep("x", size)
		assert(ws:send(message, kind, 30))
		local echo, back = ws:receive(30)
		assert(echo == message and back == kind, "another echo of " .. size)
	end
end
assert(ws:close(4000, "so long", 30))
local quit = dial()
assert(quit:send("quit", "text", 30))
local message, _, code = quit:receive(30)
assert(message == nil and code == 1000 or quit.got_close_code == 1000, "no Close 1000 after quit")
print(table.concat({"lua-http", require "http.version".version, "13", "no", ws.protocol or "none", "close codes 4000 (sent), 1000"}, "\t"))
