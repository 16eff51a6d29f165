#!/bin/sh
# matrix.sh PAGE LOGS PROGRAM ... runs the test programs of this folder, keeps what they say in LOGS, and writes PAGE: which
# pitfall has which tests, and each cell of the matrix with its result. Fails where one of them has none.
set -u
page=$1
logs=$2
shift 2
here=$(dirname "$0")
limit=${TEST_TIMEOUT:-600}
CMOCKA_MESSAGE_OUTPUT=stdout
export CMOCKA_MESSAGE_OUTPUT
unset CMOCKA_TEST_ABORT

rm -rf "$logs"
mkdir -p "$logs" "$(dirname "$page")" || exit 1
crashed=0
for program in "$@"; do
    name=$(basename "$program")
    timeout -k 10 "$limit" "$program" >"$logs/$name.log" 2>&1
    status=$?
    echo "matrix: $name: $(grep -c '^\[       OK \]' "$logs/$name.log") tests passed, exit status $status"
    if [ "$status" -ne 0 ]; then
        crashed=1
        sed 's/^/      | /' "$logs/$name.log"
    fi
done

awk -v counts="$logs/counts" -f "$here/matrix.awk" "$here/matrix.txt" "$logs"/*.log >"$logs/page"
status=$?
read -r passed failed skipped <"$logs/counts" || exit 1
[ "$status" -ne 0 ] || [ "$crashed" -ne 0 ] || cp "$logs/page" "$page"
[ "$crashed" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
echo "$passed passed, $failed failed, $skipped skipped"
[ "$status" -eq 0 ] && [ "$failed" -eq 0 ]
