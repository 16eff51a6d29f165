#!/bin/sh
# size.sh [BUILD]: how large the implementation's code is (gcc -Os, default configuration), its ten biggest functions, and
# the processor's time that a compile takes, the least of three. Fails over 32 KiB, or over one and a half seconds.
set -u
build=${1:-build}
here=$(dirname "$0")
limit_bytes=32768
limit_ms=1500
mkdir -p "$build" || exit 2
command -v gcc >/dev/null || { echo "size: there is no gcc here" >&2 && exit 2; }

compile() {
    gcc -std=c99 -Os -D_GNU_SOURCE -DUDS_ECHO_IMPLEMENTATION -x c -c "$here/../uds_echo.h" -o "$build/size.o"
}

# Sets spent to the milliseconds that all children took so far: the second line of times(1), as in "0m1.23s 0m0.45s".
# That counts this shell's own children, so it is not asked from a subshell.
tell_spent() {
    times >"$build/size.times"
    spent=$(awk 'NR == 2 { for (i = 1; i <= 2; i++) { split($i, t, /[ms]/); ms += t[1] * 60000 + t[2] * 1000 }
                           print int(ms) }' "$build/size.times")
}

least=
for _ in 1 2 3; do
    tell_spent
    before=$spent
    compile || exit 2
    tell_spent
    took=$((spent - before))
    if [ -z "$least" ] || [ $took -lt "$least" ]; then least=$took; fi
done
[ "$least" -gt 0 ] || { echo "size: the time of a compile could not be told" >&2 && exit 2; }

bytes=$(size -A "$build/size.o" | awk '$1 ~ /^\.text/ { sum += $2 } END { print sum + 0 }')
[ "$bytes" -gt 0 ] || { echo "size: no code was found" >&2 && exit 2; }
echo "the ten biggest functions, in bytes:"
nm -S --size-sort --radix=d "$build/size.o" | awk '$3 ~ /^[tT]$/ { printf "%6d  %s\n", $2, $4 }' | tail -n 10
verdict=PASS
if [ "$bytes" -gt $limit_bytes ] || [ "$least" -gt $limit_ms ]; then verdict=FAIL; fi
echo "size: $verdict: code $bytes bytes (at most $limit_bytes), compile $least ms (at most $limit_ms)"
[ $verdict = PASS ]
