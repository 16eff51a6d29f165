#!/bin/sh
# mutants.sh BUILD: forces every conditional jump of the header both ways, in the tests over the fake kernel; see
# mutants.py. MUTANTS=n (300): so many, drawn by SEED (1); MUTANTS=all: every one.
# shellcheck disable=SC2086,SC2013 # lists of flags and of files without blanks
set -u
build=${1:-build/mutants}
here=$(dirname "$0")
if [ "$(uname -m)" != x86_64 ]; then
    echo "mutants: the patches are x86-64's: skipped"
    echo "0 passed, 0 failed, 1 skipped"
    exit 1
fi
sh "$here/../tools/need.sh" cmocka gcc objdump python3 || { echo "0 passed, 0 failed, 1 skipped"; exit 1; }
mkdir -p "$build"

flags='-std=c99 -O0 -gdwarf-4 -w -fcf-protection=none -fno-jump-tables -I. -Itests/fake'
gcc $flags -c tests/fake/fake_kernel.c -o "$build/fake_kernel.o" || exit 1
programs=
for variant in epoll: poll:-DUDS_ECHO_USE_POLL \
    plain:'-DUDS_ECHO_HAVE_EVENTFD=0 -DUDS_ECHO_HAVE_ACCEPT4=0 -DUDS_ECHO_HAVE_RENAMEAT2=0 -DUDS_ECHO_HAVE_SYSCALL=0'; do
    name=${variant%%:*}
    for test in $(grep -l 'harness\.h"' tests/unit/test_*.c tests/fault/test_faults.c); do
        program=$build/$(basename "$test" .c)_$name
        gcc $flags ${variant#*:} "$test" "$build/fake_kernel.o" -o "$program" -lcmocka -pthread || exit 1
        programs="$programs $name:$program"
    done
done
exec python3 "$here/mutants.py" "${MUTANTS:-300}" "${SEED:-1}" "${WORKERS:-$(getconf _NPROCESSORS_ONLN)}" \
    "$here/survivors.txt" $programs
