#!/bin/sh
# mutants.sh BUILD: forces every conditional jump of the header both ways and deletes every statement, in the tests over
# the fake kernel; see mutants.py. MUTANTS=n (300): so many, drawn by SEED (1); MUTANTS=all: every one.
#
# mutants.sh BUILD FUZZ: a reason in survivors.txt says that no test can notice. So the mutants of that list run in the
# simulation (SEEDS=300), in the replay of the inputs in FUZZ/kept and FUZZ/crashes, and with the inputs of `make real`,
# over the fake kernel and over real sockets. There, each line must be the one that the header writes as it is.
# shellcheck disable=SC2013,SC2086 # lists of files and of flags without blanks
set -u
build=${1:-build/mutants}
fuzz=${2:-}
here=$(dirname "$0")
if [ "$(uname -m)" != x86_64 ]; then
    echo "mutants: the patches are x86-64's: skipped"
    echo "0 passed, 0 failed, 1 skipped"
    exit 1
fi
sh "$here/../tools/need.sh" cmocka gcc objdump python3 || { echo "0 passed, 0 failed, 1 skipped"; exit 1; }
mkdir -p "$build"

flags='-std=c99 -O0 -gdwarf-4 -w -fcf-protection=none -fno-jump-tables -I. -Itests/fake'
fake=$build/fake_kernel.o
gcc $flags -c tests/fake/fake_kernel.c -o "$fake" || exit 1
workers=${WORKERS:-$(getconf _NPROCESSORS_ONLN)}
set --

# Sets program, compiled in this variant.
compile() { # NAME SOURCE...
    program=$build/$1_$name
    shift
    gcc $flags $options "$@" -o "$program" -lcmocka -pthread || exit 1
}

# Sets the arguments of mutants.py for the tests, or those for what survived them.
variant() {
    if [ -z "$fuzz" ]; then
        for test in $(grep -l 'harness\.h"' tests/unit/test_*.c tests/fault/test_faults.c); do
            compile "$(basename "$test" .c)" "$test" "$fake"
            printf '%s\n' "$name:$program"
        done
        return
    fi
    compile fake tests/real/transcript.c "$fake"
    xargs "$program" /w <"$build/inputs" >"$build/golden_$name" || exit 1
    golden=$build/golden_$name
    printf '%s\n' "$name:$program xargs {} /w <$build/inputs >{}.out && cmp {}.out $golden"
    compile real -DREAL tests/real/transcript.c
    in_a_folder="d=\$(mktemp -d) && xargs timeout 60 {} \$d"
    printf '%s\n' "$name:$program $in_a_folder <$build/inputs >{}.out && cmp {}.out $golden; s=\$?; rm -r \$d; exit \$s"
    compile simulate "-DVARIANT=\"$name\"" tests/sim/simulate.c "$fake"
    printf '%s\n' "$name:$program {} -n ${SEEDS:-300}"
    case $name in
    epoll) targets=$(basename -s .c fuzz/fuzz_*.c) ;;
    poll) targets=fuzz_poller ;;
    *) targets= ;;
    esac
    for target in $targets; do
        target=${target#fuzz_}
        inputs=$fuzz/kept/$target
        [ $name = epoll ] || inputs=${inputs}_$name
        [ ! -d "$fuzz/crashes/$target" ] || inputs="$inputs $fuzz/crashes/$target"
        other=
        if [ $target = pollers_agree ]; then
            # Without -g its lines are no lines of the header, and nothing in it is changed: the two halves are compared.
            other=$build/other_half.o
            gcc $flags -g0 -DUDS_ECHO_USE_POLL -c fuzz/fuzz_pollers_agree.c -o "$other" || exit 1
        fi
        compile $target fuzz/fuzz_$target.c fuzz/replay.c "$fake" $other
        printf '%s\n' "$name:$program {} $inputs"
    done
}

if [ -n "$fuzz" ]; then
    for target in conn server frame client both; do
        find "$fuzz/kept/$target" -type f | sort | head -n 100
    done >"$build/inputs"
    [ "$(wc -l <"$build/inputs")" -ge 450 ] || { echo "mutants: hardly any inputs"; exit 1; }
fi
for variant in epoll: poll:-DUDS_ECHO_USE_POLL \
    plain:'-DUDS_ECHO_HAVE_EVENTFD=0 -DUDS_ECHO_HAVE_ACCEPT4=0 -DUDS_ECHO_HAVE_RENAMEAT2=0 -DUDS_ECHO_HAVE_SYSCALL=0'; do
    name=${variant%%:*}
    options=${variant#*:}
    variant
done >"$build/programs" || exit 1
while IFS= read -r program; do set -- "$@" "$program"; done <"$build/programs"
exec python3 -B "$here/mutants.py" "$([ -n "$fuzz" ] && echo listed || echo "${MUTANTS:-300}")" "${SEED:-1}" "$workers" \
    "$here/survivors.txt" "$@"
