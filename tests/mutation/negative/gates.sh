#!/bin/sh
# gates.sh BUILD [GATE ...]: the gates are checked. A copy of the project is broken in one place, and the gate that watches
# over it, run there, must fail, end with its figures, and count a failure in them (or say what is in $says). GATE: only
# these; none: all of them.
# shellcheck disable=SC2016 # what is quoted is C
set -u
build=${1:-build/gates}
[ $# -eq 0 ] || shift
top=$(cd "$(dirname "$0")/../../.." && pwd) || exit 1
wanted=" $* "
mkdir -p "$build" || exit 1
build=$(cd "$build" && pwd) || exit 1
copy=$build/copy
rm -rf "$copy" && mkdir "$copy" || exit 1
tar -C "$top" --exclude=./build --exclude=./.git -cf - . | tar -C "$copy" -xf - || exit 1
cd "$copy" || exit 1
passed=0
failed=0
file=uds_echo.h

# What breaks something, and leaves its file in $file.
bug() { # NAME: of tests/mutation/planted, into the header
    file=uds_echo.h
    python3 tests/mutation/planted.py plant "$1"
}
put() { # FILE PATTERN LINES: behind the line that has the pattern, which must be there once
    file=$1
    [ "$(grep -c "$2" "$file")" -eq 1 ] && printf '%s\n' "$3" | sed -i "/$2/r /dev/stdin" "$file"
}
opens() { # TEXT: into the function of the header that opens a server
    put uds_echo.h '^    error = ue_validate_desc(desc, 1, failure);' "$1"
}
explains() { # TEXT: into the function that few tests call
    put uds_echo.h '^    t.size = text ? size : 0;' "$1"
}
sends() { # TEXT: behind each send
    put uds_echo.h '^    ssize_t n = .*(send)(' "$1"
}
# shellcheck disable=SC2034 # gates name it in what they evaluate
unset_byte='    { volatile char *p = (char *)malloc(1); if (p && *p) error = UDS_ECHO_ERR_NO_MEMORY; free((void *)p); }'
no_bug() { # a planted bug that is none
    file=tests/mutation/planted/none.txt
    printf '%s\n' '=== no-bug-at-all' 'breaks: nothing' 'fuzz: conn' '--- old' 'UE_READS = 16, UE_ACCEPTS = 16' \
        '--- new' 'UE_READS = 16, UE_ACCEPTS = 17 - 1' '--- end' >"$file"
}
other_handler() { # KIND: another handler, which fails, where the example's was built before
    file=other.c
    printf '%s\n' '#include <stdlib.h>' 'static uds_echo_verdict other(uds_echo_conn *c, uds_echo_message *m, void *u)' \
        '{ (void)c, (void)m, (void)u; abort(); }' >"$file"
    make -s "$1" FUZZ=handler >"$build/log" 2>&1
}
without() { # FILE
    file=$1
    rm "$file"
}
in_target() { # TEXT: where the fuzz target of one connection begins
    put fuzz/fuzz_conn.c '^int LLVMFuzzerTestOneInput' "{
$1" && sed -i '/^int LLVMFuzzerTestOneInput/{n;n;n;/^{/d}' "$file"
}
large_input() {
    file=fuzz/corpus/conn.hex
    { awk 'BEGIN { for (n = 60000; n < 60002; n++) { for (i = 0; i < n; i++) printf "00"; print "" } }' && cat "$file"; } |
        LC_ALL=C sort >"$file.new" && mv "$file.new" "$file"
}
unsorted() {
    file=fuzz/corpus/conn.hex
    echo 00 >>"$file"
}
skips() { # a target that passes and skips
    file=Makefile
    printf 'skips:\n\t@echo 1 passed, 0 failed, 1 skipped\n' >>"$file"
}
edits() { # FILE COMMAND: of sed, which must change the file
    file=$1
    sed -i "$2" "$file" && ! cmp -s "$file" "$top/$file"
}
serves_all() { # the header says no more where it does not work
    file=uds_echo.h
    sed -i '/^#error "uds_echo.h: this version supports/d' "$file"
}
all_survive() { # every line of the header is listed as one whose mutants nobody can find
    file=tests/mutation/survivors.txt
    awk '/^[a-z].*\(/ && !/;$/ { match($0, /[a-z_0-9]+\(/); name = substr($0, RSTART, RLENGTH - 1) }
         name && /^    / && !/ \| / { gsub(/^ +/, ""); print name " | " $0 " | 1 | taken | x"
             print name " | " $0 " | 1 | never | x"
             print name " | " $0 " | 1 | deleted | x" }' \
        uds_echo.h | sort -u >"$file"
}
connections_survive() { # those of the functions that every input reaches
    all_survive && sed -i '/^ue_conn_/!d' "$file"
}

# gate NAME "WHAT BREAKS IT" [ARGUMENT ...]: the target is NAME without what follows a dot, or a script of .ci.
says=
gate() {
    name=$1 breaks=$2
    shift 2
    [ "$wanted" = '  ' ] || case $wanted in *" $name "*) ;; *) return ;; esac
    began=$(date +%s)
    if ! eval "$breaks"; then
        failed=$((failed + 1))
        echo "FAIL  $name: cannot be broken so: $breaks"
        return
    fi
    case $name in
    .ci/*) wanted_status=1 && set -- sh "$name" "$@" ;;
    *) wanted_status=2 && set -- make "${name%%.*}" "$@" ;;
    esac
    CI='' timeout -k 10 1200 "$@" >"$build/log" 2>&1
    status=$?
    figures=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$build/log" | tail -n 1)
    if [ $status -eq $wanted_status ] && if [ -n "$says" ]; then grep -q "$says" "$build/log"; else
        echo "$figures" | grep -qE ', [1-9][0-9]* failed, 0 skipped$'
    fi; then
        passed=$((passed + 1))
        printf 'ok    %-19s %s  (%d s)\n' "$name" "${figures:-it says: $says}" $(($(date +%s) - began))
    else
        failed=$((failed + 1))
        printf 'FAIL  %-19s exit status %d, %s\n' "$name" $status "${figures:-no figures}"
        tail -n 20 "$build/log" | sed 's/^/      | /'
    fi
    if [ -e "$top/$file" ]; then cp "$top/$file" "$file"; else rm -f "$file"; fi
}

gate simulate 'bug remainder-dropped' SEEDS=20
gate simulate-all 'bug remainder-dropped' SEEDS=20
gate trace-hash 'bug remainder-dropped'
gate fuzz-replay 'bug remainder-dropped' FUZZ=conn
says='not sorted'
gate fuzz-replay.unsorted unsorted FUZZ=conn
says=
gate fuzz-replay.none 'without fuzz/corpus/conn.hex' FUZZ=conn
gate fuzz-replay.hollow 'in_target "    if (size < 100000) return 0;"' FUZZ=conn
gate fuzz-smoke.hollow 'in_target "    if (size < 100000) return 0;"' FUZZ=conn FUZZ_SECONDS=2
gate fuzz-smoke.slow 'in_target "    { int i; for (i = 0; i < 999; i++) (void)getppid(); }"' FUZZ=conn FUZZ_SECONDS=2
says='more than 100000'
gate fuzz-replay.size large_input FUZZ=conn
says=
gate fuzz-smoke 'bug remainder-dropped' FUZZ=conn FUZZ_SECONDS=2
gate fuzz-afl 'bug remainder-dropped' FUZZ=conn AFL_SECONDS=2
other='FUZZ=handler HANDLER=other.c DESCRIBE=desc.on_message=other;'
# shellcheck disable=SC2086 # three words
{
    gate fuzz-replay.handler 'other_handler fuzz-replays' $other
    gate fuzz-smoke.handler 'other_handler fuzz-engines' $other FUZZ_SECONDS=2
    gate fuzz-afl.handler 'other_handler fuzz-afl-engines' $other AFL_SECONDS=2
}
gate planted no_bug BUGS=no-bug
gate planted-fuzz no_bug BUGS=no-bug RUNS=20000
gate chaos 'bug remainder-dropped' CHAOS_SECONDS=3
gate interop 'bug sigpipe'
gate faults 'bug own-file-stays-when-put-back-fails' PAIRS=3 # which no single fault shows
gate mutants 'without tests/unit/test_conn.c' MUTANTS=60
says='out of date'
gate mutants.listed all_survive MUTANTS=20
says='finds it'
gate survivors connections_survive SEEDS=20
says=
gate portability 'bug remainder-dropped' STEPS=traces TARGETS=m32
gate test 'bug remainder-dropped'
gate sanitize 'explains "    { char *p = (char *)malloc(1); if (p) p[1] = 1; free(p); }"'
gate integer 'opens "    { volatile unsigned n = 0; n = n - 1; }"'
gate msan 'opens "$unset_byte"'
gate tsan 'sends "    { static int sent; sent++; }"'
gate valgrind 'opens "$unset_byte"'
gate analyze 'opens "    { int *n = NULL; *n = 1; }"'
gate real 'bug around-the-seam'
gate package 'edits packaging/uds_echo.pc.in "s/@VERSION@/0.1.0/"'
gate package.include 'edits CMakeLists.txt /^target_include_directories/d'
gate package.install 'edits CMakeLists.txt "/install(FILES LICENSE/d"'
gate package.readme 'edits README.md "s/^add_subdirectory(uds_echo)/add_subdirectory(uds)/"'
gate coverage 'opens "    if (error == UDS_ECHO_ERROR_COUNT)
        error = UDS_ECHO_OK;"'
gate lint 'opens "   int  badly=0 ; (void)badly;"'
gate reading 'opens "    (void)close(-1);"'
gate compile-matrix 'opens "    int class = 0; (void)class;"' C_COMPILERS=gcc CXX_COMPILERS=g++
says='^size: FAIL'
gate size 'opens "    __asm__ volatile(\".skip 40000\");"'
says=
gate .ci/gate.sh true success skipped
says='skipped something'
gate .ci/target.sh skips skips
says=
gate .ci/foreign.sh serves_all
gate .ci/oss-fuzz.sh 'without .clusterfuzzlite/build.sh'
gate bench-check 'sends "    { int i; for (i = 0; i < 99; i++) (void)getppid(); }"'

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
