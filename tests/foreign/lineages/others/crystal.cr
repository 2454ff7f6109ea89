# Crystal's own client against the server at HOST PORT. usage: crystal HOST PORT
require "http/web_socket"

def dial
  HTTP::WebSocket.new(ARGV[0], "/echo", ARGV[1].to_i, headers: HTTP::Headers{"Sec-WebSocket-Protocol" => "chat"})
end

messages = [] of String | Bytes
[0, 1, 125, 126, 65535, 65536, 1048576].each { |size| messages << "x" * size << Bytes.new(size, 0xA5) }
closes = [] of Int32

ws = dial
say = ->{ messages.empty? ? ws.close(4000, "so long") : ws.send(messages.first) }
heard = ->(echo : String | Bytes) do
  abort "another echo of #{messages.first.size}" unless echo == messages.first
  messages.shift
  say.call
end
ws.on_message { |text| heard.call(text) }
ws.on_binary { |bytes| heard.call(bytes.dup) }
ws.on_close { |code| closes << code.value }
say.call
ws.run

# It hangs up as soon as its own Close is out, whatever comes back.
quit = dial
quit.on_close { |code| closes << code.value }
quit.send("quit")
quit.run
abort "close codes #{closes}" unless closes.last == 1000
puts ["Crystal", Crystal::VERSION, "13", "no", "not told", "close codes 4000 (sent), 1000"].join("\t")
