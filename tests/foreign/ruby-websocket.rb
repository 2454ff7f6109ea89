# Ruby's `websocket` against the server at ADDRESS:PORT, speaking WebSocket VERSION (75, 76, 7, 8 or 13).
# usage: ruby-websocket.rb ADDRESS:PORT VERSION
require 'socket'
require 'websocket'
require 'websocket/version'

PATIENCE = 30 # seconds until an answer that does not come is given up
LENGTHS = [1, 125, 126, 127, 65_535, 65_536, 1 << 20].freeze
TEXTS = ['', 'hello', 'κόσμε ✓ 😀', 'quit!', "\0NUL\0", *LENGTHS.map { |n| 'é' * (n / 2) + 'x' * (n % 2) }].freeze
BINARIES = ['', 'quit', *LENGTHS.map { |n| (1..n).map { |i| i * 31 & 255 }.pack('C*') }].freeze

HOST, PORT = ARGV[0].split(':')
VERSION = Integer(ARGV[1])
HIXIE = VERSION > 70
WebSocket.should_raise = true # rather than keep errors to itself

$checks = 0

def check(what, got, want)
  $checks += 1
  raise "#{what}: got #{got.inspect[0, 100]}, expected #{want.inspect[0, 100]}" unless got == want
end

# A connection with the head of the server's answer, which for version 76 has 16 bytes behind it.
class Connection
  attr_reader :handshake, :answer

  def initialize(path, version: VERSION, protocols: [])
    @socket = TCPSocket.new(HOST, PORT)
    options = { host: HOST, port: PORT.to_i, path: path, version: version, origin: 'http://A.example', protocols: protocols }
    @handshake = WebSocket::Handshake::Client.new(options)
    @socket.write(@handshake.to_s)
    @answer = ''.b
    @answer << byte until @answer.end_with?("\r\n\r\n")
    16.times { @answer << byte } if version == 76 && status == 101
    @frames = WebSocket::Frame::Incoming::Client.new(version: version)
    @unsent = ''.b
  end

  def status
    @answer[/\AHTTP\/1\.1 (\d+) /, 1].to_i
  end

  def accept
    # Given the answer in pieces it would take the head alone for the whole.
    @handshake << @answer
    check('handshake', @handshake.valid?, true)
    self
  end

  def say(type, data = '', **options)
    frame = WebSocket::Frame::Outgoing::Client.new(version: VERSION, type: type, data: data, **options)
    @unsent << frame.to_s.b
  end

  # The next frame, sending meanwhile what is still to be sent; nil at the end of the connection.
  def next
    loop do
      frame = @frames.next
      return frame if frame
      readable, = IO.select([@socket], @unsent.empty? ? [] : [@socket], [], PATIENCE) || raise('no answer')
      unless @unsent.empty?
        sent = @socket.write_nonblock(@unsent, exception: false)
        @unsent = @unsent.byteslice(sent..) if sent.is_a?(Integer)
      end
      next if readable.empty?
      bytes = @socket.read_nonblock(65_536, exception: false)
      return nil if bytes.nil?
      @frames << bytes unless bytes == :wait_readable
    end
  end

  def check_next(type, data)
    frame = self.next
    check('type', frame&.type, type)
    check("#{type} of #{data.bytesize} bytes", frame.data.to_s.b, data.b)
  end

  def check_end(code, reason)
    frame = self.next
    check('type', frame&.type, :close)
    check('close code and reason', [frame.code, frame.data.to_s.b], [code, reason.b]) unless HIXIE
    say(:close) if code == 1000
    check('end of the connection', self.next, nil)
  end

  private

  def byte
    @socket.wait_readable(PATIENCE) || raise('no answer to the handshake')
    @socket.read(1) || raise("the handshake ended with #{@answer.inspect}")
  end
end

# In version 76 it asks with the header of 75, and wants to be answered with that of 76.
protocols = VERSION == 76 ? [] : %w[superchat chat]
ws = Connection.new('/echo', protocols: protocols).accept
chosen = ws.handshake.headers[VERSION == 75 ? 'websocket-protocol' : 'sec-websocket-protocol']
check('subprotocol', chosen, protocols.first)
check('origin', ws.handshake.headers['sec-websocket-origin'], 'http://A.example') if VERSION == 76

messages = TEXTS.map { |text| [:text, text] }
messages += BINARIES.map { |binary| [:binary, binary] } unless HIXIE
messages.each do |message|
  ws.say(*message)
  ws.check_next(*message)
end
# All at once, then all back in order.
messages.each { |message| ws.say(*message) }
messages.each { |message| ws.check_next(*message) }

unless HIXIE
  ws.say(:ping, 'are you there?')
  ws.check_next(:pong, 'are you there?')
  ws.say(:pong, 'nobody asked')
end
# Of a reason it understands only ASCII.
ws.say(:close, HIXIE ? '' : 'so long', code: 4321)
ws.check_end(4321, 'so long')

ws = Connection.new('/').accept
ws.say(:text, 'quit')
# Draft 75 knows no closing handshake: the connection just ends.
VERSION == 75 ? check('end of the connection', ws.next, nil) : ws.check_end(1000, '')

check('unknown path', Connection.new('/nowhere').status, 404)

# The drafts in between, of which it knows most, are refused.
if VERSION == 13
  { 1 => 400, 2 => 400, 3 => 400, 4 => 426, 5 => 426, 6 => 426, 9 => 426, 10 => 426, 12 => 426 }.each do |version, status|
    refused = Connection.new('/echo', version: version)
    check("version #{version}", refused.status, status)
    check('versions on offer', refused.answer[/^Sec-WebSocket-Version: (.*?)\r/, 1], '13, 8, 7') if status == 426
  end
end

puts "Ruby websocket #{WebSocket::VERSION}, version #{VERSION}: #{$checks} checks"
puts ['Ruby websocket', WebSocket::VERSION, VERSION, 'no', protocols.first || 'none', 'frames, refusals, the end of each draft'].join("\t")
