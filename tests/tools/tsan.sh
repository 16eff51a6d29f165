#!/bin/sh
# tsan.sh: examples/threads.c with real clients, built with ThreadSanitizer, which reports a data race on stderr and by
# exit status 66. UDS_ECHO_BUILD is the folder the examples are in. The other examples have one thread, and signals come
# late under this sanitizer: they are not run here.
set -u
build=${UDS_ECHO_BUILD:-build}
folder=$(mktemp -d "${TMPDIR:-/tmp}/uds_echo.XXXXXX") || exit 1
server=
clean_up() {
    [ -z "$server" ] || kill -KILL "$server" 2>/dev/null
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
rounds=4 clients=16
passed=0
failed=0

check() {
    if [ "$2" = "$3" ]; then passed=$((passed + 1))
    else failed=$((failed + 1)) && echo "FAILED: $1: $2, wanted $3"; fi
}

"$build/threads" "$folder/s" 4 2>"$folder/said" &
server=$!
tries=0
until [ -S "$folder/s" ] || [ $tries -ge 200 ]; do sleep 0.05 && tries=$((tries + 1)); done
round=0
while [ $round -lt $rounds ]; do
    pids=
    for number in $(seq $clients); do
        timeout 60 "$build/echo_client" "$folder/s" "round $round" "client $number" >/dev/null 2>>"$folder/clients" &
        pids="$pids $!"
    done
    for pid in $pids; do
        wait "$pid"
        check "a client's exit status" $? 0
    done
    round=$((round + 1))
done
kill -TERM "$server"
wait "$server"
check "the servers' exit status" $? 0
server=
check "connections of all threads" \
    "$(awk '/^thread [0-9]+:/ { n += $3 } END { print n + 0 }' "$folder/said")" $((rounds * clients))
check "reports of races" "$(cat "$folder/said" "$folder/clients" | grep -c 'WARNING: ThreadSanitizer')" 0
[ $failed -eq 0 ] || tail -40 "$folder/said"
echo "# $((rounds * clients)) clients of 4 threads"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
