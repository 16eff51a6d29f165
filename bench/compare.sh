#!/bin/sh
# compare.sh [-1] [-k] [-r ROUNDS] [-b LOAD] [-o 'OPTIONS'] [-w WORK -f FILE] SERVER ... compares echo servers, the first
# being the floor.
#
# A SERVER is NAME=COMMAND, or NAME@OPTIONS=COMMAND for options of its own. Each COMMAND gets the path of its socket as
# its last argument and stays in the foreground. It is pinned to one core, the load to another (-1: to the same one). In
# each of ROUNDS rounds (9) every server in turn gets the load generator LOAD (build/load) with OPTIONS, and every second
# round goes backwards, so that neither drift nor order favours anybody. Only the server whose turn it is runs: the
# others are stopped, so that one that spins costs them nothing.
#
#     sh bench/compare.sh -o '-c 64 -s 64 -t 0.5 -w 0.1' floor=build/floor_epoll ours='build/echo_server -q'
#
# Prints a line for each server: median, least and greatest rate; its ratios to the floor, that of the medians, and
# the median, least and greatest of those of single rounds; the medians of p50, p99 and of the server's CPU for each
# message (bulk: for each GB), with the latter's ratio to the floor; and the median share of the time that load or
# server waited for a core that others had: where that is more than little, the CPU says more than the rate. (With -1
# they wait for each other.)
#
# -f appends all figures to FILE, separated by tabs: WORK, round, server, what, value; "failed" with a reason as its
# value, in round 0, for a server that failed. -k goes on without such a server. Exit status: 1 when a server failed, 2
# for a wrong call.
set -u

usage() {
    echo "usage: compare.sh [-1] [-k] [-r rounds] [-b load] [-o 'load options'] [-w work -f file] name=command ..." >&2
    exit 2
}

rounds=9
load=build/load
options='-c 64 -s 64 -t 0.5 -w 0.1'
same_core=
keep_going=
work=work
file=
while getopts 1kr:b:o:w:f: option; do
    case $option in
    1) same_core=1 ;;
    k) keep_going=1 ;;
    w) work=$OPTARG ;;
    f) file=$OPTARG ;;
    r) rounds=$OPTARG ;;
    b) load=$OPTARG ;;
    o) options=$OPTARG ;;
    *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || usage
case $rounds in '' | *[!0-9]*) usage ;; esac
[ "$rounds" -gt 0 ] || usage
for server in "$@"; do
    case $server in ?*=?*) ;; *) usage ;; esac
done

folder=$(mktemp -d "${TMPDIR:-/tmp}/compare.XXXXXX") || exit 2
pids=
load_pid=

alive() {
    for pid in $pids; do kill -0 "$pid" 2>/dev/null && return 0; done
    return 1
}

# A stopped process takes SIGTERM only when it goes on. Waiting in a sleep lets the shell collect those that ended, so
# that a number is never another process's by the time it is killed.
clean_up() {
    trap '' HUP INT TERM
    # shellcheck disable=SC2086 # a list of numbers
    [ -z "$load_pid$pids" ] || kill $load_pid $pids 2>/dev/null
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -CONT $pids 2>/dev/null
    tries=0
    while alive && [ $tries -lt 40 ]; do
        sleep 0.05
        tries=$((tries + 1))
    done
    for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
    wait 2>/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# The first two of the cores that this process may use, as in "pid 7's current affinity list: 0,2-5".
cores() {
    taskset -cp $$ 2>/dev/null | awk '{
        n = split($NF, parts, ",")
        for (i = 1; i <= n && found < 2; i++) {
            m = split(parts[i], ends, "-")
            for (c = ends[1]; c <= ends[m] && found < 2; c++) { printf "%d ", c; found++ }
        }
    }'
}

# shellcheck disable=SC2046 # up to two numbers
set_cores() {
    set -- $(cores)
    load_core=${1:-}
    server_core=${2:-$load_core}
    [ -z "$same_core" ] || load_core=$server_core
    if [ -z "$server_core" ]; then echo "taskset does not work here: nothing is pinned"
    else echo "server on core $server_core, load on core $load_core: $options"; fi
}
set_cores

pinned() {
    core=$1
    shift
    if [ -n "$core" ]; then exec taskset -c "$core" "$@"; else exec "$@"; fi
}

# The numbers of the servers, in order.
n=0
for server in "$@"; do
    n=$((n + 1))
    # The command replaces its shell, so that the number we keep is the server's own.
    pinned "$server_core" sh -c "exec ${server#*=} \"\$1\"" sh "$folder/$n" >"$folder/$n.log" 2>&1 &
    pids="$pids $!"
done

stop_all() {
    # shellcheck disable=SC2086 # a list of numbers
    kill -STOP $pids
}

nth() {
    shift "$1"
    echo "$1"
}

# failed NUMBER NAME: says so, and ends everything or leaves that server alone from now on.
failed() {
    status=1
    echo "compare.sh: $2 failed in round $round:" >&2
    cat "$folder/error" "$folder/$1.log" >&2
    [ -z "$file" ] || printf '%s\t0\t%s\tfailed\t%s\n' "$work" "$2" "$(head -n 1 "$folder/error")" >>"$file"
    [ -n "$keep_going" ] || exit 1
    : >"$folder/$1.failed"
}

# measure NUMBER NAME PID OPTIONS: one run of the load, whose line is kept after "round number".
measure() {
    [ ! -e "$folder/$1.failed" ] || return 0
    kill -CONT "$3" 2>/dev/null
    # shellcheck disable=SC2086 # options are words
    pinned "$load_core" "$load" $4 -p "$3" "$folder/$1" >"$folder/line" 2>"$folder/error" &
    load_pid=$!
    wait "$load_pid"
    load_status=$?
    load_pid=
    if [ $load_status -eq 0 ] && kill -STOP "$3" 2>/dev/null && read -r line <"$folder/line"; then
        echo "$round $1 $line" >>"$folder/figures"
    else
        kill -STOP "$3" 2>/dev/null
        failed "$1" "$2"
    fi
}

stop_all
: >"$folder/figures"
status=0
round=1
while [ "$round" -le "$rounds" ]; do
    i=1
    while [ $i -le $n ]; do
        which=$i
        [ $((round % 2)) -eq 1 ] || which=$((n + 1 - i))
        server=$(nth "$which" "$@")
        name=${server%%=*}
        own=$options
        case $name in *@*) own=${name#*@} && name=${name%%@*} ;; esac
        # shellcheck disable=SC2086 # a list of numbers
        measure "$which" "$name" "$(nth "$which" $pids)" "$own"
        i=$((i + 1))
    done
    round=$((round + 1))
done

for server in "$@"; do
    server=${server%%=*}
    echo "${server%%@*}"
done >"$folder/names"
[ -z "$file" ] || awk -v work="$work" '
    FILENAME ~ /names$/ { name[++servers] = $0; next }
    { for (i = 3; i < NF; i++) if ($i ~ /^[a-z]/ && $(i + 1) ~ /^[-0-9]/)
          printf "%s\t%s\t%s\t%s\t%s\n", work, $1, name[$2], $i, $(i + 1) }' "$folder/names" "$folder/figures" >>"$file"
awk '
function sorted(list, count,    i, j, x) {
    for (i = 2; i <= count; i++) {
        x = list[i]
        for (j = i - 1; j > 0 && list[j] > x; j--) list[j + 1] = list[j]
        list[j + 1] = x
    }
}
function median(list, count) {
    sorted(list, count)
    return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}
# What of server s, in the rounds that it has, into list, and its median.
function column(s, what,    r) {
    found = 0
    for (r = 1; r <= rounds; r++) if ((r, s, what) in figure) list[++found] = figure[r, s, what]
    return found ? median(list, found) : 0
}
function over(a, b) { return b ? a / b : 0 }
FILENAME ~ /names$/ { name[++servers] = $0; next }
{
    for (i = 3; i < NF; i++) figure[$1, $2, $i] = $(i + 1) + 0
    if ($3 == "rate") unit = $5
    rounds = $1 > rounds ? $1 : rounds
}
END {
    if (unit == "") exit
    printf "%-16s %11s %11s %11s  %7s %7s %17s %9s %9s %9s %6s %7s\n", unit, "median", "min", "max", "of-med", "rounds",
        "(min .. max)", "p50-us", "p99-us", unit == "MB/s" ? "cpu-s/GB" : "cpu-us", "cpu", "waited"
    for (s = 1; s <= servers; s++) {
        middle = column(s, "rate"); low = list[1]; high = list[found]
        if (!found) { printf "%-16s failed\n", name[s]; continue }
        cpu = column(s, "cpu")
        if (s == 1) { first = middle; first_cpu = cpu }
        p50 = column(s, "p50"); p99 = column(s, "p99"); waited = column(s, "waited")
        found = 0
        for (r = 1; r <= rounds; r++)
            if ((r, s, "rate") in figure && (r, 1, "rate") in figure)
                list[++found] = over(figure[r, s, "rate"], figure[r, 1, "rate"])
        ratio = found ? median(list, found) : 0
        printf "%-16s %11.1f %11.1f %11.1f  %7.3f %7.3f (%6.3f .. %6.3f) %9.1f %9.1f %9.4f %6.3f %6.1f%%\n",
            name[s], middle, low, high, over(middle, first), ratio, list[1], list[found], p50, p99, cpu,
            over(cpu, first_cpu), waited
    }
}' "$folder/names" "$folder/figures"
[ $status -eq 0 ]
