#!/bin/sh
# compare.sh [-1] [-r ROUNDS] [-b LOAD] [-o 'OPTIONS'] NAME=COMMAND ... compares echo servers, the first being the
# floor.
#
# Each COMMAND gets the path of its socket as its last argument and stays in the foreground. It is pinned to one core,
# the load to another (-1: to the same one). In each of ROUNDS rounds (9) every server in turn gets the load generator
# LOAD (build/load) with OPTIONS, and every second round goes backwards, so that neither drift nor order favours
# anybody. Only the server whose turn it is runs: the others are stopped, so that one that spins costs them nothing.
#
#     sh bench/compare.sh -o '-c 64 -s 64 -t 0.5 -w 0.1' floor=build/floor_epoll ours='build/echo_server -q'
#
# Prints a line for each server: median, least and greatest rate; its ratios to the floor, that of the medians, and
# the median, least and greatest of those of single rounds; the medians of p50, p99 and of the server's CPU for each
# message (bulk: for each GB), with the latter's ratio to the floor; and the median share of the time that load or
# server waited for a core that others had: where that is more than little, the CPU says more than the rate. (With -1
# they wait for each other.) Exit status: 1 when a server failed, 2 for a wrong call.
set -u

usage() {
    echo "usage: compare.sh [-1] [-r rounds] [-b load] [-o 'load options'] name=command ..." >&2
    exit 2
}

rounds=9
load=build/load
options='-c 64 -s 64 -t 0.5 -w 0.1'
same_core=
while getopts 1r:b:o: option; do
    case $option in
    1) same_core=1 ;;
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

# measure NUMBER NAME PID: one run of the load, as the line "round number rate p50 p99 cpu waited unit".
measure() {
    kill -CONT "$3" 2>/dev/null
    # shellcheck disable=SC2086 # options are words
    pinned "$load_core" "$load" $options -p "$3" "$folder/$1" >"$folder/line" 2>"$folder/error" &
    load_pid=$!
    wait "$load_pid"
    status=$?
    load_pid=
    if [ $status -ne 0 ] || ! kill -STOP "$3" 2>/dev/null; then
        echo "compare.sh: $2 failed in round $round:" >&2
        cat "$folder/error" "$folder/$1.log" >&2
        exit 1
    fi
    awk -v round="$round" -v number="$1" '{
        for (i = 1; i < NF; i++) value[$i] = $(i + 1)
        if (NR == 1) unit = $3
        print round, number, value["rate"], value["p50"], value["p99"], value["cpu"] + 0, value["waited"] + 0, unit
    }' "$folder/line" >>"$folder/figures"
}

nth() {
    shift "$1"
    echo "$1"
}

stop_all
round=1
while [ "$round" -le "$rounds" ]; do
    i=1
    while [ $i -le $n ]; do
        which=$i
        [ $((round % 2)) -eq 1 ] || which=$((n + 1 - i))
        server=$(nth "$which" "$@")
        # shellcheck disable=SC2086 # a list of numbers
        measure "$which" "${server%%=*}" "$(nth "$which" $pids)"
        i=$((i + 1))
    done
    round=$((round + 1))
done

for server in "$@"; do echo "${server%%=*}"; done >"$folder/names"
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
# Column c of server s into list, and its median.
function column(s, c,    r) {
    for (r = 1; r <= rounds; r++) list[r] = figure[r, s, c]
    return median(list, rounds)
}
function over(a, b) { return b ? a / b : 0 }
FILENAME ~ /names$/ { name[++servers] = $0; next }
{ for (c = 3; c <= 7; c++) figure[$1, $2, c] = $c + 0; rounds = $1 > rounds ? $1 : rounds; unit = $8 }
END {
    printf "%-16s %11s %11s %11s  %7s %7s %17s %9s %9s %9s %6s %7s\n", unit, "median", "min", "max", "of-med", "rounds",
        "(min .. max)", "p50-us", "p99-us", unit == "MB/s" ? "cpu-s/GB" : "cpu-us", "cpu", "waited"
    for (s = 1; s <= servers; s++) {
        middle = column(s, 3); low = list[1]; high = list[rounds]
        cpu = column(s, 6)
        if (s == 1) { first = middle; first_cpu = cpu }
        p50 = column(s, 4); p99 = column(s, 5); waited = column(s, 7)
        for (r = 1; r <= rounds; r++) list[r] = over(figure[r, s, 3], figure[r, 1, 3])
        ratio = median(list, rounds)
        printf "%-16s %11.1f %11.1f %11.1f  %7.3f %7.3f (%6.3f .. %6.3f) %9.1f %9.1f %9.4f %6.3f %6.1f%%\n",
            name[s], middle, low, high, over(middle, first), ratio, list[1], list[rounds], p50, p99, cpu,
            over(cpu, first_cpu), waited
    }
}' "$folder/names" "$folder/figures"
