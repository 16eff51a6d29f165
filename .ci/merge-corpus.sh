#!/bin/sh
# merge-corpus.sh [BUILD]: minimises what the fuzzers have collected in BUILD/fuzz/corpus, so that a corpus kept from one
# night to the next holds one input for each thing seen and does not grow without end. The committed corpus is not touched:
# see `make fuzz-merge`. A corpus whose merge fails is left as it was.
set -u
build=${1:-build}
passed=0 failed=0 skipped=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT

count() { find "$1" -type f | wc -l; }

for corpus in "$build"/fuzz/corpus/*/; do
    [ -d "$corpus" ] || continue
    name=$(basename "$corpus")
    engine=$build/fuzz/$name
    if [ ! -x "$engine" ]; then
        echo "skip  $name: $engine is not built"
        skipped=$((skipped + 1))
        continue
    fi
    mkdir "$scratch/$name"
    if "$engine" -merge=1 -timeout=5 -max_len=512 "$scratch/$name" "$corpus" >"$scratch/log" 2>&1 &&
        [ "$(count "$scratch/$name")" -gt 0 ]; then
        echo "ok    $name: $(count "$corpus") inputs, $(count "$scratch/$name") kept"
        rm -rf "$corpus" && cp -r "$scratch/$name" "${corpus%/}"
        passed=$((passed + 1))
    else
        echo "FAIL  $name"
        sed 's/^/      | /' "$scratch/log"
        failed=$((failed + 1))
    fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
