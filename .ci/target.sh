#!/bin/sh
# target.sh TARGET [VARIABLE=VALUE ...]: makes it and shows what it says. It must pass, tell its figures, and have skipped
# nothing: what cannot run on a machine of CI is a failure there. MAY_SKIP=PROGRAM,PROGRAM: those of tests/tools/run.sh may skip tests
# of their own, and nothing else may, for a job that is an ordinary user's. The log is kept in build/ci.
set -u
[ $# -ge 1 ] || { echo "usage: target.sh TARGET [VARIABLE=VALUE ...]" >&2 && exit 2; }
cd "$(dirname "$0")/.." || exit 2
mkdir -p build/ci || exit 2
log=build/ci/$1.log
may_skip=
for word in "$@"; do
    case $word in MAY_SKIP=*) may_skip=${word#*=} ;; esac
done
{
    make -s "$@" 2>&1
    echo $? >"$log.status"
} | tee "$log"
skipped=$(awk -v names=",$may_skip," 'index(names, "," $2 ",") && $8 == "skipped" { n += $7 } END { print n + 0 }' "$log")
if [ "$(cat "$log.status")" -ne 0 ]; then
    echo "target.sh: $1 failed"
elif ! grep -qE "^[0-9]+ passed, 0 failed, $skipped skipped\$" "$log"; then
    echo "target.sh: $1 told no figures, or skipped something"
elif grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$log" | grep -qv ", 0 failed, $skipped skipped\$" ||
    grep -q 'is not installed: skipped' "$log"; then
    echo "target.sh: a part of $1 failed or skipped something"
else
    exit 0
fi
exit 1
