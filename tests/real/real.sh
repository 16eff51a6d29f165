#!/bin/sh
# real.sh FOLDER KEPT [COUNT]: inputs of the fuzzers' corpus in KEPT, COUNT (100) of each target, once over the fake kernel (FOLDER/fake_*)
# and once over real sockets in a temporary folder (FOLDER/real_*), through epoll, poll and plain. Every line of the two
# transcripts must be equal, and both oracles content.
set -u
[ $# -ge 2 ] || { echo "usage: real.sh FOLDER KEPT [COUNT]" >&2 && exit 2; }
kept=$2
count=${3:-100}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

passed=0
failed=0
for target in conn server frame client both; do
    find "$kept/$target" -type f | sort | head -n "$count" >"$folder/of"
    [ "$(wc -l <"$folder/of")" -ge $((count < 90 ? count : 90)) ] || { failed=1 && echo "real: hardly any inputs of $target"; }
    cat "$folder/of" >>"$folder/inputs"
done
inputs=$(wc -l <"$folder/inputs")
mkdir "$folder/w"
for build in epoll poll plain; do
    oracle=0
    xargs timeout 120 "$1/fake_$build" /w <"$folder/inputs" >"$folder/fake" || oracle=$((oracle + 1))
    xargs timeout 120 "$1/real_$build" "$folder/w" <"$folder/inputs" >"$folder/real" || oracle=$((oracle + 1))
    [ $oracle -eq 0 ] || echo "real: $build: an oracle complained (above), or a run did not end"

    lines=$(wc -l <"$folder/fake")
    differ=$(diff "$folder/fake" "$folder/real" | grep -c '^[<]')
    extra=$(diff "$folder/fake" "$folder/real" | grep -c '^[>]')
    [ "$extra" -le "$differ" ] || differ=$extra
    diff "$folder/fake" "$folder/real" | grep '^[<>]' | cut -c 1-600 | head -6
    echo "real: $build: $lines inputs, $(grep -c ' ours' "$folder/fake") of them through clients of uds_echo.h, $differ differ"
    passed=$((passed + (lines > differ ? lines - differ : 0)))
    failed=$((failed + differ + oracle + (lines < inputs * 9 / 10)))
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
