#!/bin/sh
# run.sh [--skip 'PROGRAM ...'] PROGRAM ... runs test programs, one line each: its name, its counts, its seconds. What a
# program says is shown in full only when it fails; lines that begin with "# " are shown always. Ends with the sums.
#
# A program ending in .sh is run by sh and says `N passed, N failed, N skipped` at its end; any other is cmocka's. One
# that crashes, runs longer than TEST_TIMEOUT seconds (600) or ran no test at all counts as failed.
# TEST_RUNNER is a command that runs programs of another processor.
set -u
here=$(dirname "$0")
limit=${TEST_TIMEOUT:-600}
passed=0
failed=0
skipped=0
log=$(mktemp) || exit 1
running=
stop() {
    [ -z "$running" ] || kill "$running" 2>/dev/null
    rm -f "$log"
}
trap stop EXIT
trap 'exit 1' HUP INT TERM

# What the programs of this run need to know.
UDS_ECHO_BUILD=${UDS_ECHO_BUILD:-build}
CMOCKA_MESSAGE_OUTPUT=stdout
export UDS_ECHO_BUILD CMOCKA_MESSAGE_OUTPUT
unset CMOCKA_TEST_ABORT

# Prints "passed failed skipped", taken from what a program said.
counts_of() {
    case $1 in
    *.sh) awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p = $1; f = $3; s = $5 }
               END { print p + 0, f + 0, s + 0 }' "$log" ;;
    *) awk -f "$here/counts.awk" "$log" ;;
    esac
}

# Tenths of a second, into $now. BusyBox's date knows no %N.
look_at_clock() {
    read -r uptime _ </proc/uptime || uptime=$(date +%s.00)
    hundredths=${uptime#*.}
    now=${uptime%.*}${hundredths%?}
}

run_one() {
    look_at_clock
    began=$now
    # timeout makes a process group of its own, so that what a program started ends with it.
    # shellcheck disable=SC2086 # a runner may have options
    case $1 in
    *.sh) timeout -k 10 "$limit" sh "$1" >"$log" 2>&1 & ;;
    */*) timeout -k 10 "$limit" ${TEST_RUNNER:-} "$1" >"$log" 2>&1 & ;;
    *) timeout -k 10 "$limit" "./$1" >"$log" 2>&1 & ;;
    esac
    running=$!
    wait "$running"
    status=$?
    running=
    look_at_clock
    tenths=$((now - began))

    # shellcheck disable=SC2046 # three numbers
    set -- "$1" $(counts_of "$1")
    p=$2 f=$3 s=$4
    why=
    case $status in
    0) [ $((p + f + s)) -gt 0 ] || why="it ran no test" ;;
    124 | 137) why="no end after $limit s" ;;
    *)
        # BusyBox's timeout has no exit status of its own.
        if [ "$status" -eq 143 ] && [ $tenths -ge $((limit * 10)) ]; then why="no end after $limit s"
        elif [ "$status" -gt 128 ]; then why="killed by signal $((status - 128))"
        elif [ "$f" -eq 0 ]; then why="exit status $status"; fi
        ;;
    esac
    [ -z "$why" ] || f=$((f + 1))

    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    word=ok
    [ "$f" -eq 0 ] || word=FAIL
    printf '%-4s  %-44s %5d passed %3d failed %3d skipped %6d.%d s%s\n' "$word" "${1#"$UDS_ECHO_BUILD"/}" \
        "$p" "$f" "$s" $((tenths / 10)) $((tenths % 10)) "${why:+  ($why)}"
    if [ "$f" -gt 0 ]; then sed 's/^/      | /' "$log"; else sed -n 's/^# /      # /p' "$log"; fi
}

if [ "${1:-}" = --skip ]; then
    for program in $2; do
        skipped=$((skipped + 1))
        printf 'skip  %s\n' "${program#"$UDS_ECHO_BUILD"/}"
    done
    shift 2
fi
for program in "$@"; do run_one "$program"; done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ $((passed + skipped)) -gt 0 ]
