#!/bin/sh
# orderly.sh BUILD: builds those servers of bench/peers that are C once more, as programs that end in order on SIGTERM.
# Those whose plain form was not built are left out.
set -eu
build=$1
here=$(cd "$(dirname "$0")" && pwd)
cc=${CC:-cc}

# orderly SOURCE PEER LIBRARY
orderly() {
    [ -x "$build/peers/$2" ] || return 0
    # shellcheck disable=SC2086 # CC may hold options
    $cc -std=c99 -Wall -Wextra -O2 "-DPEER=\"../../../bench/peers/$2.c\"" -o "$build/peers/orderly_$2" "$here/$1" "-l$3"
}

orderly orderly_uv.c libuv uv
orderly orderly_uv.c libuv_expert uv
orderly orderly_event.c libevent event_core
