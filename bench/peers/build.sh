#!/bin/sh
# build.sh [BUILD [NAME ...]]: puts other people's echo servers into BUILD/peers (BUILD: build), each a program that takes
# the path of its socket: libuv libuv_expert libevent node asyncio seed socat rust, or those that are named. What they
# need is installed where it is missing and may be (NO_INSTALL=1: it is not); rustc only counts where it is here already,
# since it is large. Says which were built and which were skipped, and why. Exit status: 0, also when some were skipped;
# 1 when one does not build.
set -u
build=${1:-build}
[ $# -eq 0 ] || shift
wanted=${*:-libuv libuv_expert libevent node asyncio seed socat rust}
here=$(dirname "$0")
cc=${CC:-cc}
built=
skipped=
mkdir -p "$build/peers" || exit 1

need() { CC=$cc sh "$here/../../tests/tools/need.sh" "$1"; }

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
    need "$2" || { skip "$1" "$2" && return; }
    # shellcheck disable=SC2086 # CC may hold options
    made "$here/$1.c" "$build/peers/$1" $cc -std=c99 -Wall -Wextra -O2 -o "$build/peers/$1" "$here/$1.c" "$3"
}

script() {
    need "$2" || { skip "${1%.*}" "$2" && return; }
    made "$here/$1" "$build/peers/${1%.*}" install -m 755 "$here/$1" "$build/peers/${1%.*}"
}

for name in $wanted; do
    case $name in
    libuv | libuv_expert) compiled "$name" libuv -luv ;;
    libevent) compiled libevent libevent -levent_core ;;
    node) script node.js node ;;
    asyncio | seed) script "$name.py" python3 ;;
    socat) script socat.sh socat ;;
    rust)
        if ! rustc --version >/dev/null 2>&1; then skip rust rustc
        else made "$here/rust.rs" "$build/peers/rust" rustc -O -o "$build/peers/rust" "$here/rust.rs"; fi
        ;;
    *) echo "peers: there is no $name" >&2 && exit 1 ;;
    esac
done
echo "peers: built$built$skipped"
