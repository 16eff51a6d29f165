#!/bin/sh
# pairs.sh DISTANCE PROGRAM ...: runs each build of test_faults with two faults in a run, the second at most DISTANCE calls
# behind the first (0: however far). Shows what they say, tells how long each took, and ends with the sums.
set -u
[ $# -ge 2 ] || { echo "usage: pairs.sh DISTANCE PROGRAM ..." >&2 && exit 2; }
distance=$1
shift
CMOCKA_MESSAGE_OUTPUT=stdout
export CMOCKA_MESSAGE_OUTPUT
unset CMOCKA_TEST_ABORT

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

# A build that crashes says nothing of how many tests passed: it is one that failed.
for program in "$@"; do
    began=$(date +%s)
    echo "# $(basename "$program"): pairs of faults, at most $distance calls apart"
    "$program" "$distance" 2>&1 || echo "exit status $?"
    echo "# $(basename "$program"): $(($(date +%s) - began)) s"
done | tee "$log" | while IFS= read -r line; do # a line as soon as it is there: it is the progress
    case $line in '' | '['*) ;; *) printf '%s\n' "$line" ;; esac
done
# shellcheck disable=SC2046 # three numbers
set -- $(awk -f "$(dirname "$0")/../tools/counts.awk" "$log")
passed=$1 failed=$2 skipped=$3
broken=$(grep -c '^exit status' "$log")
[ "$failed" -gt 0 ] || failed=$broken
awk '/^# fault enumeration: / { runs += $4 } END { printf "# %d runs\n", runs }' "$log"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
