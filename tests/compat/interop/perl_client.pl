# perl_client.pl PATH: stdin to the server from a child, what comes back to stdout; half-closes after the last byte.
use strict;
use warnings;
use IO::Socket::UNIX;

my $socket = IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $ARGV[0]) or die "connect: $!\n";
binmode $_ for *STDIN, *STDOUT, $socket;
my ($child, $data) = (fork() // die "fork: $!\n");
if (!$child) {
    while (sysread STDIN, $data, 70000) { print {$socket} $data or die "send: $!\n"; }
    $socket->flush;
    shutdown $socket, 1;
    exit 0;
}
while (my $n = sysread $socket, $data, 65536) { print $data or die "write: $!\n"; }
waitpid $child, 0;
exit($? ? 1 : 0);
