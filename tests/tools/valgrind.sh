#!/bin/sh
# valgrind.sh FOLDER [PROGRAM ...]: the unit tests (or these programs of tests/) under valgrind's memcheck: memory that
# is not ours or was never set, leaks, and descriptors that the tests over real sockets leave open. One line a program.
set -u
[ $# -ge 1 ] || { echo "usage: valgrind.sh FOLDER [PROGRAM ...]" >&2 && exit 2; }
folder=$1
shift
cc=${CC:-cc}
limit=${TEST_TIMEOUT:-600}
CC=$cc sh tests/tools/need.sh valgrind cmocka || { echo "0 passed, 0 failed, 1 skipped" && exit 0; }
mkdir -p "$folder" || exit 1

# clang's own debug format is too new for some.
make -s -j"$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" c-tests CC="$cc" BUILD="$folder" \
    CFLAGS='-O1 -g -gdwarf-4' FAULT= OS=tests/os/test_threads.c || exit 1
# The conformance test has nothing of the header in it. test_choices has millions of runs, which would take a quarter of
# an hour here; msan and sanitize run it.
# shellcheck disable=SC2046 # programs are words
[ $# -ge 1 ] || set -- $(find "$folder/tests" -name 'test_*' -type f -perm -u+x ! -name '*conformance*' ! -name '*choices*' | sort)

passed=0
failed=0
log=$folder/log
for program in "$@"; do
    # Over the fake kernel there are no descriptors.
    descriptors=no
    case $program in */os/*) descriptors=yes ;; esac
    CMOCKA_MESSAGE_OUTPUT=stdout timeout -k 10 "$limit" valgrind --quiet --error-exitcode=99 \
        --leak-check=full --show-leak-kinds=all --errors-for-leak-kinds=all --track-fds=$descriptors \
        --fair-sched=try --log-file="$log.valgrind" "$program" >"$log" 2>&1
    status=$?
    tests=$(awk -f tests/tools/counts.awk "$log" | cut -d ' ' -f 1)
    # 3.19 reports open descriptors, but does not count them as errors; 0, 1 and 2 are inherited.
    left=$(grep -c 'Open file descriptor [0-9]*:\|Open AF_UNIX socket [0-9]*:' "$log.valgrind")
    inherited=$(grep -c '<inherited from parent>' "$log.valgrind")
    passed=$((passed + tests))
    if [ $status -eq 0 ] && [ "$tests" -gt 0 ] && [ "$left" -le "$inherited" ]; then
        printf 'ok    %-44s %5d passed\n' "${program#"$folder"/}" "$tests"
    else
        failed=$((failed + 1))
        printf 'FAIL  %-44s %5d passed  (exit status %d, %d descriptors left)\n' "${program#"$folder"/}" "$tests" \
            $status $((left - inherited))
        grep -v ' OK \] \| RUN  ' "$log" | tail -20 | sed 's/^/      | /'
        head -60 "$log.valgrind" | sed 's/^/      | /'
    fi
done
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
