#!/bin/sh
# gate.sh RESULT ...: exit status 0 only when there is at least one and each is "success": a job that was skipped or
# cancelled has shown nothing.
set -u
[ $# -gt 0 ] || { echo "gate: no results" && exit 1; }
failed=0
for result in "$@"; do
    [ "$result" = success ] || failed=$((failed + 1))
done
echo "$(($# - failed)) passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
