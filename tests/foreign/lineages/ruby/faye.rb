# Ruby's faye-websocket (with websocket-driver underneath) against the server at ADDRESS:PORT. usage: faye.rb ADDRESS:PORT
require 'faye/websocket'
require 'eventmachine'

SIZES = [0, 1, 125, 126, 65_535, 65_536, 1 << 20].freeze
MESSAGES = SIZES.flat_map { |size| ['x' * size, [0xA5] * size] }
closes = []
protocol = nil

talk = lambda do |messages, ended|
  left = messages.dup
  ws = Faye::WebSocket::Client.new("ws://#{ARGV[0]}/echo", ['chat'])
  ws.on(:open) do
    protocol = ws.protocol
    ws.send(left.first)
  end
  ws.on(:message) do |event|
    abort 'another echo' unless event.data == left.shift
    left.empty? ? ws.close(4000, 'so long') : ws.send(left.first)
  end
  ws.on(:close) do |event|
    closes << event.code
    ended.call
  end
end

EM.run do
  EM.add_timer(60) { abort 'nothing for a minute' }
  talk.call(MESSAGES, -> { talk.call(['quit'], -> { EM.stop }) })
end
abort "close codes #{closes}" unless closes == [4000, 1000]
version = Gem.loaded_specs['faye-websocket']&.version || Gem::Specification.find_by_name('faye-websocket').version
puts ['Ruby faye-websocket', version, 13, 'no', protocol, 'close codes 4000, 1000'].join("\t")
