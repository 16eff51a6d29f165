#!/bin/sh
# bench.sh [BUILD [WORK ...]]: measures BUILD/echo_server (BUILD: build) beside hand-written floors and other people's servers, all
# built already, prints the table of goals, and writes
#
#     BUILD/bench/raw.tsv       every figure of every round: work, round, server, what, value
#     BUILD/bench/results.tsv   work, server, what, median, least, greatest, rounds
#     docs/plots/*.svg          where gnuplot is here, or may be installed
#     docs/performance.md       the part between its markers
#
# It takes less than ten minutes. Every comparison is made in rounds in which the servers take turns (compare.sh); only
# ratios within one such comparison mean something. With WORKs (c64, bulk, ...) only these are measured again, and all else
# stays as the last run left it. UDS_ECHO_BENCH_SECONDS (0.15) is what one server gets in one round;
# UDS_ECHO_BENCH_PERCENT (100) scales the number of rounds. Exit status: 0, also where a goal is not met; 1 when it could
# not be measured.
set -u
build=${1:-build}
[ $# -eq 0 ] || shift
only=$*
here=$(dirname "$0")
seconds=${UDS_ECHO_BENCH_SECONDS:-0.15}
percent=${UDS_ECHO_BENCH_PERCENT:-100}
out=$build/bench
docs=$here/../docs
case $build in /* | ./* | ../*) ;; *) build=./$build ;; esac
mkdir -p "$out" "$docs/plots" || exit 1
raw=$out/raw.tsv
if [ -n "$only" ] && [ -s "$raw" ]; then
    awk -F '\t' -v only=" $only " '!index(only, " " $1 " ")' "$raw" >"$raw.new" && mv "$raw.new" "$raw"
else
    : >"$raw"
fi
began=$(date +%s)

# What servers can hold is limited by their descriptors; the load takes as many.
# shellcheck disable=SC3045 # not in the standard, but in every sh that has come up
ulimit -n "$(ulimit -Hn)" 2>/dev/null
# shellcheck disable=SC3045
many=$(($(ulimit -n) - 1000))
[ "$many" -le 19000 ] || many=19000
[ "$many" -ge 1000 ] || { echo "bench: at least 2,000 descriptors are needed (ulimit -n)" >&2 && exit 1; }

running=
stop() { [ -z "$running" ] || kill "$running" 2>/dev/null; }
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

busy_poll_us=1000
has_spin() { "$build/echo_server" -h 2>/dev/null | grep -q -e '-s '; }

# The command of a server; empty where it is not here. What follows a colon only tells two of the same apart.
command_of() {
    case ${1%%:*} in
    ours) echo "$build/echo_server -q" ;;
    ours_spin) ! has_spin || echo "$build/echo_server -q -s $busy_poll_us" ;;
    epoll | blocking | spin | splice | uring) echo "$build/floor_${1%%:*}" ;;
    *) [ ! -x "$build/peers/${1%%:*}" ] || echo "$build/peers/${1%%:*}" ;;
    esac
}

wanted() {
    case " $only " in "  " | *" $1 "*) ;; *) return 1 ;; esac
}

# measure WORK ROUNDS FLAGS OPTIONS SERVER ...: a server may have options of its own after an @.
measure() {
    wanted "$1" || return 0
    work=$1 rounds=$(($2 * percent / 100)) flags=$3 options=$4
    shift 4
    [ $(($(date +%s) - began)) -lt 300 ] || rounds=$((rounds / 2)) # a busy machine gets fewer rounds, not more time
    [ $(($(date +%s) - began)) -lt 450 ] || rounds=1
    [ "$rounds" -gt 0 ] || rounds=1
    count=$#
    while [ "$count" -gt 0 ]; do
        command=$(command_of "${1%%@*}")
        [ -z "$command" ] || set -- "$@" "$1=$command"
        shift
        count=$((count - 1))
    done
    printf '== %s: %d servers, %d rounds (%d s so far)\n' "$work" $# "$rounds" $(($(date +%s) - began))
    # shellcheck disable=SC2086 # nothing, or -1
    sh "$here/compare.sh" -k $flags -r "$rounds" -b "$build/load" -o "$options" -w "$work" -f "$raw" "$@" &
    running=$!
    wait "$running"
    status=$?
    running=
    [ $status -lt 2 ] || exit 1
}

# Two servers of each kind, one with few connections and one with many.
scale() {
    few_options="-c 100 -s 64 -t $seconds -w 0.02"
    many_options="-c $many -s 64 -t 0.5 -w 0.1"
    measure scale 5 '' '' "epoll:100@$few_options" "epoll:many@$many_options" "ours:100@$few_options" \
        "ours:many@$many_options" "libuv_expert:100@$few_options" "libuv_expert:many@$many_options" \
        "libevent:100@$few_options" "libevent:many@$many_options"
}

# How evenly servers on threads share the connections of one listener, from what the example says when it ends.
shares() {
    wanted shares || return 0
    printf '== shares (%d s so far)\n' $(($(date +%s) - began))
    folder=$(mktemp -d "${TMPDIR:-/tmp}/bench.XXXXXX") || exit 1
    "$build/threads" "$folder/s" 4 2>"$folder/log" &
    running=$!
    "$build/load" -c 256 -s 64 -t 0.5 "$folder/s" >/dev/null
    kill "$running"
    wait "$running"
    running=
    cat "$folder/log"
    awk '/^thread [0-9]+: / { n++; sum += $3; if ($3 > most) most = $3 }
         END { if (sum) printf "shares\t1\tours\tlargest\t%.3f\n", most * n / sum }' "$folder/log" >>"$raw"
    rm -rf "$folder"
}

everyone="libuv libuv_expert libevent node asyncio rust"
timed="-t $seconds -w 0.02"
# shellcheck disable=SC2086 # lists of words
{
    measure ping 21 -1 "-m ping -s 64 $timed" epoll blocking ours uring $everyone socat seed
    measure spin 21 '' "-m ping -s 64 $timed" "spin@-m spin -s 64 $timed" "ours_spin@-m spin -s 64 $timed" ours epoll \
        libuv libuv_expert rust
    measure c64 21 '' "-c 64 -s 64 $timed" epoll ours uring $everyone
    measure c1000 15 '' "-c 1000 -s 64 $timed" epoll ours uring $everyone
    measure c64_16k 15 '' "-c 64 -s 16384 $timed" epoll ours uring $everyone
    measure bulk 15 '' "-m bulk -s 65536 $timed" blocking epoll ours splice uring $everyone socat seed
    measure connect 21 '' "-m connect -s 64 $timed" epoll ours uring $everyone socat
    scale
    measure idle 1 '' "-m idle -c $many" epoll ours libuv libuv_expert libevent node asyncio
    measure flood 3 '' "-m flood -s 64 -t 0.5 -w 0.05" epoll ours libuv libuv_expert libevent node asyncio rust
    for size in 64 512 4096 16384 65536 262144; do
        measure "size_$size" 5 '' "-c 16 -s $size $timed" epoll ours libuv_expert libevent rust
    done
    for count in 1 10 100 1000 5000 "$many"; do
        [ "$count" -le "$many" ] || continue
        measure "conns_$count" 5 '' "-c $count -s 64 $timed" epoll ours libuv_expert libevent
    done
    set --
    for server in epoll ours libuv_expert rust; do
        set -- "$@" "$server@-m ping -s 64 -t 1.5 -w 0.05 -d $out/latency_$server.dat"
    done
    measure latency 1 -1 '' "$@"
}
shares
sh "$here/size.sh" "$build" | tee "$out/size.txt"

awk -f "$here/summary.awk" "$raw" | sort >"$out/results.tsv"
sh "$here/plots.sh" "$out" "$docs/plots" || echo "bench: no plots"
sh "$here/table.sh" "$out" >"$out/table.md" || exit 1
sh "$here/report.sh" "$out" "$docs/performance.md" || exit 1
cat "$out/table.md"
printf 'bench: %d s; %s, %s\n' $(($(date +%s) - began)) "$out/results.tsv" "docs/performance.md"
