#!/bin/sh
# real.sh FAKE REAL [COUNT]: inputs of the fuzzers' corpus, COUNT (100) of each target, once over the fake kernel and once
# over real sockets in a temporary folder. Every line of the two transcripts must be equal, and both oracles content.
set -u
[ $# -ge 2 ] || { echo "usage: real.sh FAKE REAL [COUNT]" >&2 && exit 2; }
count=${3:-100}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

for target in conn server frame client both; do
    find "fuzz/corpus/$target" -type f | sort | head -n "$count"
done >"$folder/inputs"
mkdir "$folder/w"
oracle=0
xargs timeout 120 "$1" /w <"$folder/inputs" >"$folder/fake" || oracle=$((oracle + 1))
xargs timeout 120 "$2" "$folder/w" <"$folder/inputs" >"$folder/real" || oracle=$((oracle + 1))
[ $oracle -eq 0 ] || echo "real: an oracle complained (above), or a run did not end"

lines=$(wc -l <"$folder/fake")
differ=$(diff "$folder/fake" "$folder/real" | grep -c '^[<]')
extra=$(diff "$folder/fake" "$folder/real" | grep -c '^[>]')
[ "$extra" -le "$differ" ] || differ=$extra
diff "$folder/fake" "$folder/real" | grep '^[<>]' | cut -c 1-600 | head -6
echo "$((lines > differ ? lines - differ : 0)) passed, $((differ + oracle)) failed, 0 skipped"
[ "$lines" -gt 0 ] && [ $((differ + oracle)) -eq 0 ]
