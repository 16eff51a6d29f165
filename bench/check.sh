#!/bin/sh
# check.sh [BUILD]: the speed that no change may lose. Compares BUILD/echo_server (BUILD: build) with the hand-written
# servers in BUILD, and with libuv as an expert uses it where BUILD/peers has that, all built already; then counts its
# instructions (instructions.sh). Every gate is the median of the ratios of single rounds, in which the servers take
# turns; but with 1,000 connections, where a machine has fast and slow spells that decide a median, the ratio of the
# means. Machines are shared and noisy: what falls short is measured once more, with more rounds, and fails where what
# was wanted is outside the interval in which, with 99 % confidence, the median lies, or more than 0.04 away. Both are
# printed, and NEAR where that is why it passed.
#
# Many short rounds, because their median strays less on a busy machine than that of a few long ones, which take as
# long: UDS_ECHO_BENCH_ROUNDS (61) and UDS_ECHO_BENCH_SECONDS (0.1, of one server in one round) change both; as they are
# it takes a minute and a half. Ends with `N passed, N failed, N skipped`. Exit status: 0 all passed, 1 one failed, 2 it
# could not be measured.
set -u
build=${1:-build}
rounds=${UDS_ECHO_BENCH_ROUNDS:-61}
seconds=${UDS_ECHO_BENCH_SECONDS:-0.1}
here=$(dirname "$0")

case $rounds in
'' | 0* | *[!0-9]*) echo "check.sh: UDS_ECHO_BENCH_ROUNDS is not a number above 0" >&2 && exit 2 ;;
esac
case $build in /* | ./* | ../*) ;; *) build=./$build ;; esac
for program in echo_server floor_epoll load; do
    [ -x "$build/$program" ] || { echo "check.sh: there is no $build/$program: run make first" >&2 && exit 2; }
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/bench-check.XXXXXX") || exit 2
running=
stop() {
    [ -z "$running" ] || kill "$running" 2>/dev/null
    [ -z "$running" ] || wait "$running" 2>/dev/null
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

passed=0
failed=0
skipped=0
epoll="epoll=$build/floor_epoll"
expert=
if [ -x "$build/peers/libuv_expert" ]; then
    expert="libuv_expert=$build/peers/libuv_expert"
else
    echo "bench-check: libuv is not here: two gates skipped"
    skipped=2
fi

# versus ROUNDS THEIRS ...: one table, shown, and its figures in raw.
versus() {
    versus_rounds=$1
    shift
    : >"$folder/raw"
    # shellcheck disable=SC2086 # nothing, or -1
    sh "$here/compare.sh" $core -r "$versus_rounds" -b "$build/load" -o "$options -t $seconds -w 0.02" -f "$folder/raw" \
        "$@" "ours=$build/echo_server -q" >"$folder/table" &
    running=$!
    wait "$running"
    status=$?
    running=
    cat "$folder/table"
    [ $status -eq 0 ] || { echo "bench-check: not measured: FAIL" && exit $status; }
}

# judge THEIRS: sets verdict (PASS, or FAIL, or NEAR: short of it by less than can be told) and ratio, with its interval.
judge() {
    ratio=$(awk -v work=work -v ours=ours -v theirs="$1" -v what="$what" -v by="$by" -f "$here/ratio.awk" "$folder/raw" |
        awk '{ print $1, "(" $5, "..", $6 ")" }')
    verdict=$(echo "$ratio" | tr -d '()' | awk -v wanted="$wanted" -v how="$how" '
        function short_of_it(x) { return how == "least" ? wanted - x : x - wanted }
        NF != 4 { print "FAIL"; next }
        short_of_it($1) <= 0 { print "PASS"; next }
        { print short_of_it(how == "least" ? $4 : $2) <= 0 && short_of_it($1) <= 0.04 ? "NEAR" : "FAIL" }')
}

# gates NAME THEIRS ...: what is measured is in core, options, what, how, wanted and share (of the rounds, in percent).
gates() {
    gates_name=$1
    shift
    few=$(((rounds * share + 99) / 100))
    versus "$few" "$@"
    again=
    for theirs in "$@"; do
        judge "${theirs%%=*}"
        [ "$verdict" = PASS ] || again=1
    done
    if [ -n "$again" ]; then
        echo "bench-check: $gates_name: short of what is wanted: once more, with more rounds"
        versus $((few * 5 / 3)) "$@"
    fi
    for theirs in "$@"; do
        judge "${theirs%%=*}"
        if [ "$verdict" = FAIL ]; then failed=$((failed + 1)); else passed=$((passed + 1)); fi
        echo "bench-check: $verdict: $gates_name, ours/${theirs%%=*}: $what $ratio, wanted at $how $wanted"
    done
}

core='' what=rate how=least wanted=0.95 by=median
options='-c 64 -s 64' share=100
gates "64 connections" "$epoll" ${expert:+"$expert"}
options='-c 1000 -s 64' by=mean
gates "1,000 connections" "$epoll" ${expert:+"$expert"}
by=median
# The epoll floor itself moves 0.91 to 0.95 of what blocking threads do, by the hour: what is ours to lose is told by it.
options='-m bulk -s 65536' share=50
gates "bulk" "$epoll"
options='-m connect -s 64' share=65
gates "connect, echo, close" "$epoll"
options='-m ping -s 64' share=65 core=-1 what=p50 how=most wanted=1.05
gates "round trip" "$epoll"

if sh "$here/instructions.sh" "$build"; then passed=$((passed + 1))
elif [ $? -eq 77 ]; then skipped=$((skipped + 1))
else failed=$((failed + 1)); fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
