#!/bin/sh
# build.sh [BUILD]: puts other people's echo servers into BUILD/peers (BUILD: build), each a program that takes the path
# of its socket: libuv libuv_expert libevent node asyncio seed socat rust. What they need is installed where it is
# missing and may be (NO_INSTALL=1: it is not); rustc only counts where it is here already, since it is large. Says which
# were built and which were skipped, and why. Exit status: 0, also when some were skipped; 1 when one does not build.
set -u
build=${1:-build}
here=$(dirname "$0")
cc=${CC:-cc}
built=
skipped=
mkdir -p "$build/peers" || exit 1

sh "$here/../need.sh" libuv1-dev libevent-dev nodejs python3 socat

have() { NO_INSTALL=1 sh "$here/../need.sh" "$1" >/dev/null; }

skip() { skipped="$skipped
peers: skipped $1: no $2"; }

# made SOURCE PROGRAM COMMAND ...: runs the command unless the program is newer than its source.
made() {
    source=$1 program=$2
    shift 2
    built="$built ${program##*/}"
    [ -n "$(find "$program" -newer "$source" 2>/dev/null)" ] && return 0
    "$@" || { echo "peers: $program does not build" >&2 && exit 1; }
}

compiled() {
    have "$2" || { skip "$1" "$2" && return; }
    # shellcheck disable=SC2086 # CC may hold options
    made "$here/$1.c" "$build/peers/$1" $cc -std=c99 -Wall -Wextra -O2 -o "$build/peers/$1" "$here/$1.c" "$3"
}

script() {
    have "$2" || { skip "${1%.*}" "$2" && return; }
    made "$here/$1" "$build/peers/${1%.*}" install -m 755 "$here/$1" "$build/peers/${1%.*}"
}

compiled libuv libuv1-dev -luv
compiled libuv_expert libuv1-dev -luv
compiled libevent libevent-dev -levent_core
script node.js nodejs
script asyncio.py python3
script seed.py python3
script socat.sh socat
if rustc --version >/dev/null 2>&1; then
    made "$here/rust.rs" "$build/peers/rust" rustc -O -o "$build/peers/rust" "$here/rust.rs"
else skip rust rustc; fi
echo "peers: built$built$skipped"
