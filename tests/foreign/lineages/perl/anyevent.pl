# AnyEvent::WebSocket::Client against the server at ADDRESS:PORT. usage: anyevent.pl ADDRESS:PORT
use strict;
use warnings;
use AnyEvent;
use AnyEvent::WebSocket::Client;
use AnyEvent::WebSocket::Message;

my @sizes = (0, 1, 125, 126, 65535, 65536, 1 << 20);
my $protocol;

sub dial {
    my $client = AnyEvent::WebSocket::Client->new(subprotocol => ['chat'], max_payload_size => 1 << 24, timeout => 30);
    my $connection = $client->connect("ws://$ARGV[0]/echo")->recv;
    $protocol = $connection->subprotocol;
    return $connection;
}

my $connection = dial();
for my $size (@sizes) {
    for my $opcode (1, 2) {
        my $heard = AnyEvent->condvar;
        $connection->on(next_message => sub { $heard->send($_[1]) });
        $connection->send(AnyEvent::WebSocket::Message->new(body => "x" x $size, opcode => $opcode));
        my $echo = $heard->recv;
        die "another echo of $size" unless $echo->opcode == $opcode && $echo->body eq "x" x $size;
    }
}
my @closes;
my $closed = AnyEvent->condvar;
$connection->on(finish => sub { $closed->send($_[0]->close_code) });
$connection->close(4000, 'so long');
push @closes, $closed->recv;
my $quit = dial();
my $ended = AnyEvent->condvar;
$quit->on(finish => sub { $ended->send($_[0]->close_code) });
$quit->send('quit');
push @closes, $ended->recv;
die "close codes @closes" unless "@closes" eq '4000 1000';
print join("\t", 'Perl AnyEvent::WebSocket', AnyEvent::WebSocket::Client->VERSION, 13, 'no', $protocol, 'close codes 4000, 1000'), "\n";
