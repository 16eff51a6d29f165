#!/bin/sh
# socat.sh PATH: an echo server made of socat, one process a connection. Prints nothing; SIGTERM ends it.
[ $# -eq 1 ] || exit 2
exec socat -lf /dev/null "UNIX-LISTEN:$1,fork,backlog=4096" PIPE
