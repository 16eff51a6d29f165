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
done | tee "$log" | grep --line-buffered '^[^[]' # a line as soon as it is there: it is the progress
awk '
    /^\[  PASSED  \] [0-9]+ test/ { passed += $4 }
    /^\[  FAILED  \] [0-9]+ test/ { failed += $4 }
    /^exit status/ { broken++ }
    /^# fault enumeration: / { runs += $4 }
    END {
        if (broken && !failed) failed = broken
        printf "# %d runs\n%d passed, %d failed, 0 skipped\n", runs, passed, failed
        exit failed > 0 || passed == 0
    }' "$log"
