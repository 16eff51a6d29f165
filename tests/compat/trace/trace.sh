#!/bin/sh
# trace.sh [--lines] FOLDER [COMPILER [FLAG...]]: the trace hash of each fuzz target over the fake kernel, with epoll and
# with poll, see tests/compat/trace/trace.c, and of the lives of tests/sim/simulate.c. Compared with tests/compat/trace/hashes.txt; a
# change of the header or of a target that makes other calls changes them, and UPDATE=1 writes them anew. --lines only
# prints them, those of the corpora, too. What a compiler cannot do is told as `# left out: NAME: why`.
# TEST_RUNNER is a command that runs programs of another processor.
set -u
LC_ALL=C
export LC_ALL
lines=
[ "${1:-}" = --lines ] && lines=1 && shift
[ $# -ge 1 ] || { echo "usage: trace.sh [--lines] FOLDER [COMPILER [FLAG...]]" >&2 && exit 2; }
folder=$1
shift
[ $# -ge 1 ] || set -- "${CC:-cc}"
committed=tests/compat/trace/hashes.txt
mkdir -p "$folder" || exit 1

# Not every libc has renameat2(2), nor every compiler atomics: only calls that are made everywhere can be compared. The fake
# kernel has the first. Without the second no listener is shared, which is what some are about: see shares().
# Sets $same for what is to be compiled, by its name.
settings() {
    same='-DUDS_ECHO_HAVE_RENAMEAT2=1 -DUDS_ECHO_HAVE_ATOMIC=0'
    ! shares "$1" || same='-DUDS_ECHO_HAVE_RENAMEAT2=1 -DUDS_ECHO_HAVE_ATOMIC=1'
}

shares() {
    case $1 in fuzz_share | simulate) ;; *) return 1 ;; esac
}

# It compiles: tcc has no atomics, and 32 bits of seconds are too few for lives that begin after 2038.
has() { # LINES COMPILER [FLAG...]
    printf '%s\n' "$1" >"$folder/has.c"
    shift
    "$@" -c "$folder/has.c" -o "$folder/has.o" 2>"$folder/has.log"
}
atomics='#ifndef __ATOMIC_ACQ_REL
#error none
#endif'
long_time='#include <time.h>
extern char long_enough[sizeof(time_t) < 8 ? -1 : 1];'

# comparable NAME COMPILER [FLAG...]
comparable() {
    ! shares "$1" && return
    who=$1
    shift
    if ! has "$atomics" "$@"; then
        echo "# left out: $who: this compiler has no atomics, so nothing is shared"
        return 1
    elif [ "$who" = simulate ] && ! has "$long_time" "$@"; then
        echo "# left out: $who: time_t ends in 2038"
        return 1
    fi
}

compile() {
    target=$1 out=$2 flag=${3:-}
    shift 3
    settings "$(basename "$target" .c)"
    # A target that compares the two pollers is compiled twice, and has both in it.
    second=
    if grep -q '^#if.*UDS_ECHO_USE_POLL' "$target"; then
        second=$out.poll.o
        # shellcheck disable=SC2086 # flags are words
        "$@" -std=c99 -O1 $same -DUDS_ECHO_USE_POLL -I. -Itests/fake -Ifuzz -c "$target" -o "$second" || return 1
    fi
    # shellcheck disable=SC2086 # flags are words
    "$@" -std=c99 -O1 $same $flag -I. -Itests/fake -Ifuzz "$target" $second tests/compat/trace/trace.c tests/fake/fake_kernel.c -o "$out"
}

# Every input that is kept for a target, by name.
corpus_of() {
    for kept in "$folder/fuzz/kept/${1#fuzz_}" "$folder/fuzz/crashes/${1#fuzz_}"; do
        [ ! -d "$kept" ] || find "$kept" -type f
    done | sort
}

hashes() {
    for target in fuzz/fuzz_*.c; do
        grep -qE '"(fake_kernel|fuzz|harness)\.h"' "$target" || continue
        name=$(basename "$target" .c)
        comparable "$name" "$@" || continue
        for poller in epoll poll; do
            flag=
            [ $poller = epoll ] || flag=-DUDS_ECHO_USE_POLL
            [ $poller = epoll ] || ! grep -q '^#if.*UDS_ECHO_USE_POLL' "$target" || continue
            program=$folder/trace_${name}_$poller
            compile "$target" "$program" "$flag" "$@" || { echo "$name $poller does-not-build" && continue; }
            # shellcheck disable=SC2086 # a runner may have options
            hash=$(${TEST_RUNNER:-} "$program") || hash="failed $hash"
            echo "$name $poller $hash"
            kept=
            [ -z "$lines" ] || kept=$(corpus_of "$name")
            [ -n "$kept" ] || continue
            # shellcheck disable=SC2086 # names without blanks
            hash=$(${TEST_RUNNER:-} "$program" $kept) || hash="failed $hash"
            echo "$name $poller corpus $hash"
        done
    done
}

# The hashes of so many lives, as one number.
LIVES=100
lives() {
    comparable simulate "$@" || return
    settings simulate
    for poller in epoll poll; do
        flag=
        [ $poller = epoll ] || flag=-DUDS_ECHO_USE_POLL
        program=$folder/trace_simulate_$poller
        # shellcheck disable=SC2086 # flags are words
        "$@" -std=c99 -O1 $same $flag -I. -Itests/fake tests/sim/simulate.c tests/fake/fake_kernel.c -o "$program" ||
            { echo "simulate $poller does-not-build" && continue; }
        # shellcheck disable=SC2086 # a runner may have options
        ${TEST_RUNNER:-} "$program" -v -n $LIVES >"$folder/lives" || { echo "simulate $poller failed" && continue; }
        sed -n 's/^seed \(.*\): the laws hold, trace /\1 /p' "$folder/lives" >"$folder/traces"
        echo "simulate $poller $(cksum <"$folder/traces" | cut -d ' ' -f 1) $(wc -l <"$folder/traces") lives"
    done
}

[ -z "$lines" ] || make -s fuzz-inputs BUILD="$folder" || exit 1
{ hashes "$@" && lives "$@"; } >"$folder/seen"
grep '^#' "$folder/seen"
grep -v '^#' "$folder/seen" >"$folder/hashes.txt"
[ -n "$lines" ] && cat "$folder/hashes.txt" && exit 0
if [ "${UPDATE:-0}" = 1 ]; then
    grep -qE 'failed|does-not-build|^#' "$folder/seen" && cat "$folder/seen" && exit 1
    cp "$folder/hashes.txt" $committed && echo "$committed is written"
fi
# What is left out is not missed.
sed -n 's/^# left out: \([a-z_]*\):.*/^\1 /p' "$folder/seen" >"$folder/left-out"
grep -v -f "$folder/left-out" $committed >"$folder/wanted"
passed=$(grep -cxF -f "$folder/wanted" "$folder/hashes.txt")
failed=$(diff "$folder/wanted" "$folder/hashes.txt" | tee "$folder/hashes.diff" | grep -c '^[<>]')
cat "$folder/hashes.diff"
awk '{ calls += $6; inputs += $4 } END { print "# " inputs " inputs, " calls " calls, each three times" }' \
    "$folder/hashes.txt"
[ "$failed" -eq 0 ] || echo "other calls than before: if that is meant, UPDATE=1 make trace-hash"
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
