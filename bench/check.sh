#!/bin/sh
# check.sh [BUILD]: the speed that no change may lose. Compares BUILD/echo_server with the hand-written
# BUILD/floor_epoll (BUILD: build), which are built already, and fails when the median of the ratios of single rounds
# at 64 connections and 64 bytes is below 0.95. Machines are shared and noisy: what fails is measured once more, with
# more rounds, before it counts. The other tables are to be read, not gates. It takes less than a minute.
#
# Many short rounds, because their median strays less on a busy machine than that of a few long ones, which take as
# long: UDS_ECHO_BENCH_ROUNDS (61) and UDS_ECHO_BENCH_SECONDS (0.1, of one server in one round) change both. Exit
# status: 0 it passes, 1 it fails, 2 it could not be measured.
set -u
build=${1:-build}
rounds=${UDS_ECHO_BENCH_ROUNDS:-61}
seconds=${UDS_ECHO_BENCH_SECONDS:-0.1}
gate=0.95
here=$(dirname "$0")

case $rounds in
'' | 0* | *[!0-9]*) echo "check.sh: UDS_ECHO_BENCH_ROUNDS is not a number above 0" >&2 && exit 2 ;;
esac
case $build in /* | ./* | ../*) ;; *) build=./$build ;; esac
load=$build/bench_load
[ -x "$load" ] || load=$build/load
for program in "$build/echo_server" "$build/floor_epoll" "$load"; do
    [ -x "$program" ] || { echo "check.sh: there is no $program: run make first" >&2 && exit 2; }
done

table=$(mktemp "${TMPDIR:-/tmp}/bench-check.XXXXXX") || exit 2
running=
stop() {
    [ -z "$running" ] || kill "$running" 2>/dev/null
    [ -z "$running" ] || wait "$running" 2>/dev/null
    rm -f "$table"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# versus ROUNDS OPTIONS [-1]: one table, shown and kept.
versus() {
    # shellcheck disable=SC2086 # nothing, or -1
    sh "$here/compare.sh" ${3:-} -r "$1" -b "$load" -o "$2" "floor=$build/floor_epoll" "ours=$build/echo_server -q" \
        >"$table" &
    running=$!
    wait "$running"
    status=$?
    running=
    cat "$table"
    [ $status -eq 0 ] || { echo "bench-check: not measured: FAIL" && exit $status; }
}

# Sets ratio, and says by its exit status whether it is enough.
gate_with() {
    versus "$1" "-c 64 -s 64 -t $seconds -w 0.02"
    ratio=$(awk '$1 == "ours" { print $6 }' "$table")
    echo "64 connections, 64 bytes: $ratio of the floor, median of $1 rounds"
    awk -v ratio="$ratio" -v gate="$gate" 'BEGIN { exit !(ratio >= gate) }'
}

few=$(((rounds + 3) / 4))
versus "$few" "-c 1 -s 64 -t $seconds -w 0.02" -1
versus "$few" "-c 1000 -s 64 -t $seconds -w 0.02"
verdict=PASS
if ! gate_with "$rounds"; then
    echo "below $gate: once more, with more rounds"
    first=$ratio
    gate_with $((rounds * 5 / 3)) || verdict=FAIL
    ratio="$first at first, then $ratio"
fi
echo "bench-check: ours/floor at 64 connections $ratio, wanted $gate: $verdict"
[ $verdict = PASS ]
