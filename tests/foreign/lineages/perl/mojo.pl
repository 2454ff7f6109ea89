# Mojolicious against the server at ADDRESS:PORT. usage: mojo.pl ADDRESS:PORT
use Mojo::Base -strict;
use Mojo::UserAgent;
use Mojolicious;

# Mojolicious breaks on an empty message that was compressed, so there is none.
my @sizes = (1, 125, 126, 65535, 65536, 1 << 20);
my $agent = Mojo::UserAgent->new(max_response_size => 0, inactivity_timeout => 30);
$agent->transactor->name('mojo');
my ($deflate, $protocol, @closes);

sub talk {
    my ($messages, $ended) = @_;
    my @left = @$messages;
    $agent->websocket("ws://$ARGV[0]/echo" => {'Sec-WebSocket-Extensions' => 'permessage-deflate'} => ['chat'] => sub {
        my (undef, $tx) = @_;
        die "no WebSocket: @{[$tx->error->{message} // '']}" unless $tx->is_websocket;
        $deflate = $tx->compressed;
        $protocol = $tx->protocol;
        $tx->max_websocket_size(1 << 24);
        my $say = sub { $tx->send({$left[0][0] => $left[0][1]}) };
        my $heard = sub {
            my (undef, $got) = @_;
            my $message = shift @left;
            die "another echo of @{[length $message->[1]]}" unless $got eq $message->[1];
            @left ? $say->() : $tx->finish(4000, 'so long');
        };
        $tx->on($_ => $heard) for qw(text binary);
        $tx->on(finish => sub { push @closes, $_[1] // 'none'; $ended->() });
        $say->();
    });
}

my @messages = map { (['text', 'x' x $_], ['binary', "\xA5" x $_]) } @sizes;
talk(\@messages, sub { talk([['text', 'quit']], sub { Mojo::IOLoop->stop }) });
Mojo::IOLoop->timer(60 => sub { die 'nothing for a minute' });
Mojo::IOLoop->singleton->reactor->on(error => sub { warn $_[1]; exit 1 });
Mojo::IOLoop->start;
die "close codes @closes" unless "@closes" eq '4000 1000';
print join("\t", 'Perl Mojolicious', Mojolicious->VERSION, 13, $deflate ? 'yes' : 'no', $protocol // 'none', 'close codes 4000, 1000'), "\n";
