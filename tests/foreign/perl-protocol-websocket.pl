# Perl's Protocol::WebSocket against the server at ADDRESS:PORT, speaking WebSocket VERSION (75, 76, 8 or 13).
# usage: perl-protocol-websocket.pl ADDRESS:PORT VERSION
use strict;
use warnings;
use utf8;

use Encode qw(encode);
use IO::Select;
use IO::Socket::INET;
use Protocol::WebSocket;
use Protocol::WebSocket::Frame;
use Protocol::WebSocket::Handshake::Client;

use constant PATIENCE => 30;    # seconds until an answer that does not come is given up

my ($address, $version) = @ARGV;
my %drafts = (75 => 'draft-hixie-75', 76 => 'draft-ietf-hybi-00', 8 => 'draft-ietf-hybi-10', 13 => 'draft-ietf-hybi-17');
my $draft  = $drafts{$version} or die "no version $version";
my $hixie  = $version > 70;
my $checks = 0;

my @lengths = (1, 125, 126, 127, 65535, 65536, 1 << 20);
my @texts   = ('', 'hello', 'κόσμε ✓ 😀', 'quit!', "\0NUL\0", map { 'é' x ($_ >> 1) . 'x' x ($_ & 1) } @lengths);
my @binaries = ('', 'quit', map { pack 'C*', map { $_ * 31 & 255 } 1 .. $_ } @lengths);

sub check {
    my ($what, $got, $want) = map { defined $_ ? $_ : 'nothing' } @_;
    $checks++;
    die "$what: got " . substr($got, 0, 100) . ', expected ' . substr($want, 0, 100) . "\n" unless $got eq $want;
}

# A connection whose handshake is done, or refused.
sub connection {
    my ($path, $protocol) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $address, Blocking => 1) or die "connect: $!";
    my $handshake = Protocol::WebSocket::Handshake::Client->new(url => "ws://$address$path", version => $draft);
    $handshake->req->origin('http://A.example');
    $handshake->req->subprotocol($protocol) if defined $protocol;
    $socket->syswrite($handshake->to_string);
    # It keeps what follows the head to itself, so it gets no byte too many.
    while (!$handshake->is_done) {
        IO::Select->new($socket)->can_read(PATIENCE) or die 'no answer to the handshake';
        $socket->sysread(my $byte, 1) or last;
        $handshake->parse($byte) or last;
    }
    $socket->blocking(0);
    my $reader = Protocol::WebSocket::Frame->new(version => $draft, max_payload_size => 0);
    return { socket => $socket, handshake => $handshake, reader => $reader, unsent => '' };
}

sub frame { Protocol::WebSocket::Frame->new(version => $draft, masked => 1, max_payload_size => 0, @_)->to_bytes }

# The payload of the next frame, sending meanwhile what is still to be sent; nothing at the end of the connection.
sub next_frame {
    my ($ws) = @_;
    while (1) {
        my $payload = $ws->{reader}->next_bytes;
        return $payload if defined $payload;
        my $select = IO::Select->new($ws->{socket});
        my ($readable) = IO::Select->select($select, length $ws->{unsent} ? $select : undef, undef, PATIENCE)
            or die 'no answer';
        if (length $ws->{unsent}) {
            my $sent = $ws->{socket}->syswrite($ws->{unsent});
            substr($ws->{unsent}, 0, $sent, '') if $sent;
        }
        next unless @$readable;
        $ws->{socket}->sysread(my $bytes, 65536) or return undef;
        $ws->{reader}->append($bytes);
    }
}

sub say_frame {
    my ($ws, @frame) = @_;
    $ws->{unsent} .= frame(@frame);
}

sub check_message {
    my ($ws, $type, $bytes) = @_;
    check('echo of ' . length($bytes) . ' bytes', next_frame($ws), $bytes);
    check('opcode', $ws->{reader}->opcode, $type eq 'text' ? 1 : 2) unless $hixie;
}

sub check_end {
    my ($ws, $code, $reason) = @_;
    check('body of the close frame', next_frame($ws), $hixie ? '' : pack('n', $code) . encode('UTF-8', $reason));
    check('a close frame', $ws->{reader}->is_close, 1);
    say_frame($ws, type => 'close', buffer => $hixie ? '' : pack('n', $code)) if $code == 1000;
    check('end of the connection', next_frame($ws), undef);
}

my $ws       = connection('/echo?room=1', 'superchat');
my $response = $ws->{handshake}->res;
check('error', $ws->{handshake}->error, undef);
check('subprotocol', $response->subprotocol, 'superchat');
if ($hixie) {
    check('origin', $response->origin, 'http://A.example');
    check('location', $response->location, "ws://$address/echo?room=1");
}

my @messages = map { [text => encode('UTF-8', $_)] } @texts;
push @messages, map { [binary => $_] } @binaries unless $hixie;
for (@messages) {
    say_frame($ws, type => $_->[0], buffer => $_->[1]);
    check_message($ws, @$_);
}
# All at once, then all back in order.
say_frame($ws, type => $_->[0], buffer => $_->[1]) for @messages;
check_message($ws, @$_) for @messages;

if (!$hixie) {
    say_frame($ws, type => 'text', buffer => "\xe2\x82", fin => 0);
    say_frame($ws, type => 'ping', buffer => 'amid');
    say_frame($ws, type => 'continuation', buffer => "\xac");
    check('pong', next_frame($ws), 'amid');
    check('opcode of pong', $ws->{reader}->is_pong, 1);
    check_message($ws, 'text', encode('UTF-8', '€'));
    say_frame($ws, type => 'pong', buffer => 'nobody asked');
}
say_frame($ws, type => 'close', buffer => $hixie ? '' : pack('n', 4321) . encode('UTF-8', 'tschüß'));
check_end($ws, 4321, 'tschüß');

$ws = connection('/');
say_frame($ws, type => 'text', buffer => 'quit');
# Draft 75 knows no closing handshake: the connection just ends.
$version == 75 ? check('end of the connection', next_frame($ws), undef) : check_end($ws, 1000, '');

$ws = connection('/nowhere');
check('unknown path', $ws->{handshake}->error =~ /Got \[\[HTTP\/1.1 404 /, 1);

print "Perl Protocol::WebSocket $Protocol::WebSocket::VERSION, version $version: $checks checks\n";
print join("\t", 'Perl Protocol::WebSocket', $Protocol::WebSocket::VERSION, $version, 'no', 'superchat', 'frames, the end of each draft'), "\n";
