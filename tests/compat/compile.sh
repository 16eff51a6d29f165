#!/bin/sh
# compile.sh: the header compiles without a warning, with every compiler and language standard that is here, however
# a program includes and configures it; and it leaves no name behind that is not its own. Every line of the list of
# jobs is one compilation (or link) and counts as one test.
#
# C_COMPILERS and CXX_COMPILERS name others than gcc, clang, g++ and clang++; TEST_RUNNER runs their programs and NM reads
# their objects, where that takes something of its own. EVERY=1 adds what takes long: all combinations of the platform
# macros.
set -u

c_standards='c99 c11 c17 c2x gnu99 gnu11 gnu17 gnu2x'
cxx_standards='c++11 c++14 c++17 c++20 gnu++17'
nm=${NM:-nm}
runner=${TEST_RUNNER:-}
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Werror'
c_warnings='-Wstrict-prototypes -Wmissing-prototypes'
cxx_warnings='-Wno-missing-field-initializers' # g++ warns of the {0} that C knows as "all zeroes"
# So many jobs there are for each compiler; fewer means that a part of the list went missing.
c_floor=${C_FLOOR:-114}
cxx_floor=${CXX_FLOOR:-78}

# ---- one job: compile.sh --job FOLDER NUMBER, which is a line of FOLDER/list: NUMBER KIND COMPILER STANDARD [FLAG...] --

language_of() {
    case $1 in
    *++*) echo "-x c++ $warnings $cxx_warnings" ;;
    *) echo "-x c $warnings $c_warnings" ;;
    esac
}

# A line of nm's for each symbol that is not ours.
foreign_symbols() {
    nm --defined-only "$1" | awk '
        $2 ~ /[A-Z]/ && $3 !~ /^(uds_echo_|__x86\.get_pc_thunk\.)/ { print "public symbol without the prefix:", $3 }
        $2 ~ /[a-z]/ && $3 !~ /^(ue_|UE_|uds_echo_|\.L|L\.|\$[adtx]|__func__|__PRETTY_FUNCTION__|CSWTCH|switch\.table|reltable\.)/ {
            print "private symbol without the prefix:", $3 }'
}

# Every declared function is defined.
missing_symbols() {
    $nm -g --defined-only "$1" | awk '{ print $3 }' | sort >"$1.defined"
    sed -n 's/^UDS_ECHO_API .*[ *]\(uds_echo_[a-z_]*\)(.*/\1/p' uds_echo.h | sort -u >"$1.declared"
    [ -s "$1.declared" ] || echo "no declaration was found"
    comm -13 "$1.defined" "$1.declared" | sed 's/^/declared, not defined: /'
}

# What the header over the fake kernel needs from outside, against the list in tests/compat/compile/undefined.txt: exactly what is
# listed for a configuration, where the compiler knows no built-in functions; nothing else than what is listed, where it
# does. Apart from what compilers need for themselves, the list names functions of the fake kernel and pure ones only.
of_compilers='_GLOBAL_OFFSET_TABLE_|__stack_chk_fail(_local)?|__u?(div|mod|divmod)di[34]|__aarch64_[a-z0-9_]*'
pure='mem(chr|cmp|cpy|move|set)|str(chr|cmp|len|rchr)|__errno_location'
seam_breaks() {
    grep -vE "^(fake_[a-z0-9_]*|$pure) " tests/compat/compile/undefined.txt | sed 's/^/listed, but it may be a system call: /'
    $nm -u "$1" | awk '{ print $NF }' | grep -vxE "$of_compilers" | sort -u >"$1.needs"
    grep -wE "${2:-.*}" tests/compat/compile/undefined.txt | sed 's/ .*//' | sort -u >"$1.listed"
    grep -q '^fake_recv$' "$1.needs" || echo "the header needs no recv"
    allowed= # an optimizer makes one pure function of another
    [ -n "${2:-}" ] || allowed=$pure
    comm -23 "$1.needs" "$1.listed" | grep -vxE "${allowed:-none}" | sed 's/^/needed, not listed: /'
    [ -z "${2:-}" ] || comm -13 "$1.needs" "$1.listed" | sed 's/^/listed, not needed: /'
}

# The macros that a file defines beyond those of the headers it includes. $1: compiler and flags, $2: prefixes.
foreign_macros() {
    sed -n 's/^#include \(<.*>\).*/#include \1/p; s/^# *include \(<.*>\).*/#include \1/p' uds_echo.h |
        sort -u >"$3.includes"
    { echo '#define _GNU_SOURCE 1' && cat "$3.includes"; } >"$3.base.c"
    { cat "$3.base.c" && echo "$4" && echo '#include "uds_echo.h"'; } >"$3.with.c"
    for file in base with; do
        $1 -I. -dM -E "$3.$file.c" | awk '{ sub(/\(.*/, "", $2); print $2 }' | sort -u >"$3.$file" || echo "no macros"
    done
    grep -q '^UDS_ECHO_VERSION_MAJOR$' "$3.with" || echo "the header defined nothing"
    comm -13 "$3.base" "$3.with" | grep -Ev "$2" | sed 's/^/macro without the prefix: /'
}

# shellcheck disable=SC2086 # flags are words
run_job() {
    folder=$1 number=$2 kind=$3 compiler=$4 standard=$5
    shift 5
    base=$folder/$number
    compile="$compiler -std=$standard $(language_of "$standard") -I."
    case $kind in
    object) $compile "$@" -c tests/compat/compile/impl.c -o "$base.o" ;;
    link)
        $compile "$@" -c tests/compat/compile/impl.c -o "$base.o" && $compile "$@" -c tests/compat/compile/user.c -o "$base.user.o" &&
            $compiler "$base.o" "$base.user.o" -o "$base.program" && $runner "$base.program" >/dev/null ;;
    static)
        for file in one two; do
            $compile "$@" -c "tests/compat/compile/static_$file.c" -o "$base.$file.o" || return 1
            $nm -g --defined-only "$base.$file.o" | grep ' uds_echo_' && return 1
        done
        $compiler "$base.one.o" "$base.two.o" -o "$base.program" && $runner "$base.program" ;;
    builds_or_says) # what to do, in one #error that comes before all that follows from it
        $compile "$@" -c tests/compat/compile/impl.c -o "$base.o" 2>"$base.said" && return 0
        cat "$base.said"
        grep 'error:' "$base.said" >"$base.errors"
        [ "$(grep -c '_GNU_SOURCE' "$base.errors")" -eq 1 ] && head -n 1 "$base.errors" | grep -q '_GNU_SOURCE' ;;
    seam)
        configuration=$1
        shift
        $compile "$@" -Itests/fake -c tests/compat/compile/over_fake.c -o "$base.o" || return 1
        said=$(seam_breaks "$base.o" "${configuration#any}")
        [ -z "$said" ] || { echo "$said" && return 1; } ;;
    symbols)
        $compile "$@" -c -DUDS_ECHO_IMPLEMENTATION uds_echo.h -o "$base.o" || return 1
        said=$(foreign_symbols "$base.o" && missing_symbols "$base.o")
        [ -z "$said" ] || { echo "$said" && return 1; } ;;
    wrong) # FLAG CASE: as it should be without a warning, and with the wrong use an error that names the flag
        said="error:.*\[-Werror[=,].*$1\]" flag="-Werror=$1"
        # clang 21 has it on by default, under the name of a part of the flag.
        [ "$1" != enum-conversion ] || said='error:.*\[-Werror[=,].*(enum-conversion|implicit-enum-enum-cast)\]'
        [ "$1" != none ] || said=error: flag= # a mistake in this language, whatever the flags
        $compile -fsyntax-only -D$2=0 tests/compat/compile/wrong.c || return 1
        $compile -Wno-error $flag -fsyntax-only -D$2=1 tests/compat/compile/wrong.c 2>"$base.said" &&
            echo "$2 compiles" && return 1
        grep -qE "$said" "$base.said" || { cat "$base.said" && return 1; } ;;
    mixed) # the implementation in C++ with a visibility of the user's own, its caller in C
        cxx=$1
        $cxx -std=c++11 -x c++ $warnings $cxx_warnings -I. -fPIC -fvisibility=hidden \
            '-DUDS_ECHO_API=__attribute__((visibility("default")))' -c tests/compat/compile/impl.c -o "$base.o" &&
            $cxx -shared "$base.o" -o "$base.so" && $compile -c tests/compat/compile/user.c -o "$base.user.o" &&
            $compiler "$base.user.o" "$base.so" -o "$base.program" && $runner "$base.program" >/dev/null || return 1
        $nm -D --defined-only "$base.so" | awk '$2 == "T" { print $3 }' | grep -v '^_' | sort >"$base.exported"
        sed -n 's/^UDS_ECHO_API .*[ *]\(uds_echo_[a-z_]*\)(.*/\1/p' uds_echo.h | sort -u | diff - "$base.exported" ;;
    macros)
        compile="$compiler -std=$standard -x c"
        said=$(foreign_macros "$compile" '^UDS_ECHO_' "$base" '' &&
            foreign_macros "$compile" '^UDS_ECHO_' "$base.2" '#define UDS_ECHO_IMPLEMENTATION')
        [ -z "$said" ] || { echo "$said" && return 1; } ;;
    esac
}

if [ "${1:-}" = --job ]; then
    # shellcheck disable=SC2046 # words
    set -- "$2" $(sed -n "$3p" "$2/list")
    if ! run_job "$@" >"$1/$2.log" 2>&1; then
        { echo "FAILED: $*" | sed "s|$1/*||" && head -20 "$1/$2.log"; } >"$1/$2.failed"
    fi
    rm -f "$1/$2".*o "$1/$2.log" "$1/$2.program"
    : >"$1/$2.done"
    exit 0
fi

# ---- the list of jobs ------------------------------------------------------------------------------------------------

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM

have_macros=$(awk '/^\/\/ >>/ { on = ($2 == ">>platform") } on' uds_echo.h |
    grep -o 'UDS_ECHO_HAVE_[A-Z0-9_]*' | sort -u)
all_off=$(for macro in $have_macros; do printf -- ' -D%s=0' "$macro"; done)

accepts() {
    echo 'int accepted;' >"$folder/accepts.c"
    case $2 in *++*) language=c++ ;; *) language=c ;; esac
    "$1" "-std=$2" -x $language -c "$folder/accepts.c" -o "$folder/accepts.o" 2>/dev/null
}

# What every compiler has to take in every standard.
jobs_of_a_standard() {
    for level in -O0 -O2; do
        echo "link $1 $2 $level"
        # The optimizer does not ask for the standard either.
        case $level$2 in -O0* | *c99 | *c2x | *gnu17 | *c++11 | *c++20) ;; *) continue ;; esac
        echo "object $1 $2 $level -DCASE_DECLARED_BEFORE -DCASE_TWICE"
        echo "object $1 $2 $level -DUDS_ECHO_USE_POLL -DCASE_DECLARED_AFTER"
        echo "static $1 $2 $level"
        echo "object $1 $2 $level -DCASE_GNU_SOURCE -DCASE_LIBC_FIRST"
    done
    case $2 in
    c[0-9]*) echo "builds_or_says $1 $2 -O0 -DCASE_LIBC_FIRST" ;;
    *) echo "object $1 $2 -O0 -DCASE_LIBC_FIRST" ;;
    esac
}

# What depends on the platform section, which asks no compiler for its standard: two standards are enough.
jobs_of_a_compiler() {
    for macro in $have_macros; do
        for level in -O0 -O2; do
            echo "object $1 $2 $level -D$macro=0"
            echo "object $1 $3 $level -D$macro=0 -DUDS_ECHO_USE_POLL"
        done
    done
    echo "object $1 $2 -O2 -DCASE_GNU_SOURCE -DCASE_MACROS"
    echo "object $1 $2 -O0 -DCASE_GNU_SOURCE -DCASE_LIBC_MACROS"
    # Where it is on by default, libc warns of results that nobody looks at. With a compiler that has no such thing, of that.
    case $1 in
    *tcc*) ;;
    *)
        echo "object $1 $2 -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2"
        echo "object $1 $3 -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2$all_off"
        ;;
    esac
    for level in -O0 -O2; do
        echo "object $1 $2 $level$all_off"
        echo "static $1 $2 $level$all_off"
        echo "object $1 $3 $level$all_off -DUDS_ECHO_USE_POLL"
    done
}

# A wrong enumerator, and the flag under which it is an error; none: always. tcc says nothing of it, and clang nothing of a
# comparison in C, where an enumerator is an int.
wrong_uses() { # COMPILER STANDARD FLAG_OF_CONVERSIONS
    case $1 in *tcc*) return ;; esac
    echo "wrong $1 $2 switch WRONG_CASE"
    case $1,$2 in clang*,c[0-9]*) ;; *) echo "wrong $1 $2 enum-compare WRONG_COMPARISON" ;; esac
    for wrong in WRONG_VERDICT WRONG_OK WRONG_FIELD WRONG_ARGUMENT; do echo "wrong $1 $2 $3 $wrong"; done
}

# A libc without renameat2(2) does no harm over the fake kernel.
configured() {
    case $1 in
    epoll) echo ' -DUDS_ECHO_HAVE_RENAMEAT2=1' ;;
    poll) echo ' -DUDS_ECHO_HAVE_RENAMEAT2=1 -DUDS_ECHO_USE_POLL' ;;
    plain) echo "$all_off" ;;
    esac
}

# What is forced to 1 must be there.
has() {
    case $2 in
    *_RENAMEAT2) echo 'int renameat2(); int main(void) { return renameat2() == 0; }' ;;
    *_ATOMIC) echo 'int n; int main(void) { return __atomic_add_fetch(&n, 1, __ATOMIC_ACQ_REL) == 0; }' ;;
    *) return 0 ;;
    esac >"$folder/has.c"
    "$1" -std=gnu99 -x c -w "$folder/has.c" -o "$folder/has" 2>/dev/null
}

# Every combination of the platform macros that the system has.
jobs_of_all_combinations() {
    combinations=' '
    for macro in $have_macros; do
        if has "$1" "$macro"; then values='0 1'; else values=0; fi
        combinations=$(for value in $values; do echo "$combinations" | sed "s/\$/ -D$macro=$value/"; done)
    done
    echo "$combinations" | sed "s/^/object $1 $2 -O0/"
}

floor=0
skipped=0
for compiler in ${C_COMPILERS:-gcc clang}; do
    command -v "$compiler" >/dev/null || { echo "# $compiler is not installed" && skipped=$((skipped + 1)) && continue; }
    floor=$((floor + c_floor))
    for standard in $c_standards; do
        if accepts "$compiler" "$standard"; then jobs_of_a_standard "$compiler" "$standard"
        else echo "# $compiler does not know $standard" && skipped=$((skipped + 1)); fi
    done
    jobs_of_a_compiler "$compiler" c99 gnu17
    for level in -O0 -O2; do
        echo "symbols $compiler c99 $level -D_GNU_SOURCE"
        echo "symbols $compiler c99 $level -D_GNU_SOURCE -DUDS_ECHO_USE_POLL"
    done
    for configuration in epoll poll plain; do
        flags=$(configured $configuration)
        echo "seam $compiler c99 $configuration -O0 -fno-builtin -fno-stack-protector$flags"
        echo "seam $compiler gnu17 any -O2$flags"
    done
    echo "macros $compiler c99"
    echo "macros $compiler gnu17"
    wrong_uses "$compiler" c99 enum-conversion
    case $compiler in gcc) cxx=g++ ;; clang) cxx=clang++ ;; *) cxx= ;; esac
    [ -z "$cxx" ] || ! command -v $cxx >/dev/null || echo "mixed $compiler c99 $cxx"
    [ "${EVERY:-0}" != 1 ] || jobs_of_all_combinations "$compiler" gnu11
done >"$folder/jobs"
for compiler in ${CXX_COMPILERS-g++ clang++}; do
    command -v "$compiler" >/dev/null || { echo "# $compiler is not installed" && skipped=$((skipped + 1)) && continue; }
    floor=$((floor + cxx_floor))
    for standard in $cxx_standards; do
        if accepts "$compiler" "$standard"; then jobs_of_a_standard "$compiler" "$standard"
        else echo "# $compiler does not know $standard" && skipped=$((skipped + 1)); fi
    done
    jobs_of_a_compiler "$compiler" c++11 c++17
    wrong_uses "$compiler" c++11 none
done >>"$folder/jobs"

grep '^#' "$folder/jobs"
grep -v '^#' "$folder/jobs" | awk '{ print NR, $0 }' >"$folder/list"
count=$(wc -l <"$folder/list")
parallel=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
# BusyBox's xargs has no -L.
seq "$count" | xargs -P "$parallel" -n 1 sh tests/compat/compile.sh --job "$folder"

ran=$(find "$folder" -name '*.done' | wc -l)
failed=$(find "$folder" -name '*.failed' | wc -l)
find "$folder" -name '*.failed' | sort | head -20 | while read -r file; do cat "$file"; done
forced=$(echo "$have_macros" | wc -w)
echo "# $ran of $count compilations made, at least $floor wanted; $forced platform macros forced to 0"
if [ "$ran" -ne "$count" ] || [ "$ran" -lt "$floor" ] || [ "$floor" -eq 0 ] || [ -z "$have_macros" ]; then
    echo "too few compilations, or no platform macros"
    failed=$((failed + 1))
    ran=$((ran + 1))
fi
echo "$((ran - failed)) passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
