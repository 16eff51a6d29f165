#!/bin/sh
# check.sh [FOLDER OF THE PROGRAMS]: is the server as fast as a hand-written one? Both run at once, each on a socket of its
# own; short rounds alternate between them, so that what else the machine does hits both. The gate is the median of the
# ratios, round by round, with 64 connections of 64 bytes; other loads are printed for whoever reads.
#
#     UDS_ECHO_BENCH_ROUNDS=11 UDS_ECHO_BENCH_SECONDS=0.4 UDS_ECHO_BENCH_GATE=0.95
set -u
build=${1:-build}
rounds=${UDS_ECHO_BENCH_ROUNDS:-11}
seconds=${UDS_ECHO_BENCH_SECONDS:-0.4}
gate=${UDS_ECHO_BENCH_GATE:-0.95}
folder=$(mktemp -d "${TMPDIR:-/tmp}/uds_echo.XXXXXX") || exit 1
floor_pid=
ours_pid=

clean_up() {
    for pid in $floor_pid $ours_pid; do kill -KILL "$pid" 2>/dev/null; done
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

# The server on the first core, the load on the second, where there are two and taskset is here.
on_server=''
on_load=''
if [ "$(getconf _NPROCESSORS_ONLN)" -gt 1 ] && command -v taskset >/dev/null; then
    on_server='taskset -c 0' on_load='taskset -c 1'
fi

# shellcheck disable=SC3045 # not in POSIX, but in every sh of Linux
ulimit -n 4096 2>/dev/null || echo "bench-check: descriptors are scarce (ulimit -n)"
# shellcheck disable=SC2086 # a command and its arguments, or nothing
$on_server "$build/floor_epoll" "$folder/floor" &
floor_pid=$!
# shellcheck disable=SC2086
$on_server "$build/echo_server" -q "$folder/ours" &
ours_pid=$!

# rate WHO LOAD-OPTIONS ...: the first word that load prints
rate() {
    who=$1
    shift
    # shellcheck disable=SC2086
    $on_load "$build/load" -w 0.05 -t "$seconds" "$@" "$folder/$who" | awk '{ print $1 }'
}

# Prints "floor ours" for each round; the order alternates.
play() {
    how_many=$1
    shift
    round=0
    while [ "$round" -lt "$how_many" ]; do
        if [ $((round % 2)) -eq 0 ]; then
            floor=$(rate floor "$@") && ours=$(rate ours "$@")
        else
            ours=$(rate ours "$@") && floor=$(rate floor "$@")
        fi
        if [ -z "$floor" ] || [ -z "$ours" ]; then return 1; fi
        echo "$floor $ours"
        round=$((round + 1))
    done
}

# Prints the medians and, last, the median of the ratios.
judge() {
    awk -v name="$1" '
    function median(a, n,   i, j, t) {
        for (i = 2; i <= n; i++) for (j = i; j > 1 && a[j] < a[j - 1]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
        return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
    }
    NF == 2 { n++; f[n] = $1; o[n] = $2; r[n] = $2 / $1 }
    END {
        if (!n) exit 1
        mf = median(f, n); mo = median(o, n); mr = median(r, n)
        printf "%-34s floor %9.0f  ours %9.0f  of medians %.3f  median ratio %.3f  (%.3f to %.3f, %d rounds)\n",
               name, mf, mo, mo / mf, mr, r[1], r[n], n
    }'
}

ratio_of() {
    sed 's/.*median ratio \([0-9.]*\).*/\1/'
}

measure() {
    name=$1
    shift
    if ! play "$@" >"$folder/rounds"; then
        echo "bench-check: $name: a load failed" >&2
        return 1
    fi
    judge "$name" <"$folder/rounds"
}

measure '1 connection, 64 B (msg/s)' 5 -c 1 -s 64 || exit 1
measure '1,000 connections, 64 B (msg/s)' 5 -c 1000 -s 64 || exit 1
measure '64 connections, 16 KiB (msg/s)' 5 -c 64 -s 16384 || exit 1
measure 'bulk, 64 KiB writes (MB/s)' 5 -m bulk || exit 1
measure 'connect, echo, close (conn/s)' 5 -m connect || exit 1
line=$(measure '64 connections, 64 B (msg/s)' "$rounds" -c 64 -s 64) || exit 1
echo "$line"
ratio=$(echo "$line" | ratio_of)
if awk "BEGIN { exit !($ratio < $gate) }"; then
    echo "below the gate: again, with twice the rounds"
    line=$(measure '64 connections, 64 B (msg/s)' $((2 * rounds)) -c 64 -s 64) || exit 1
    echo "$line"
    ratio=$(echo "$line" | ratio_of)
fi
if awk "BEGIN { exit !($ratio < $gate) }"; then
    echo "bench-check: ratio $ratio < $gate FAIL"
    exit 1
fi
echo "bench-check: ratio $ratio >= $gate PASS"
