#!/bin/sh
# analyze.sh TOOL|all [FILE]: static analysis of the header's implementation (or of FILE) over both pollers: gcc
# (-fanalyzer), clang (scan-build's checkers), tidy (clang-tidy), cppcheck. What a tool says is a failure. A finding that
# was looked at and is wrong is switched off below, with the reason next to it.
# shellcheck disable=SC2086 # lists of flags
set -u
tool=${1:-all}
file=${2:-}
here=$(dirname "$0")
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0
skipped=0

source=$file
if [ -z "$file" ]; then
    source=$scratch/implementation.c
    # The path is absolute, so that tools that change folders find it and reports name it.
    printf '%s\n' '#define UDS_ECHO_IMPLEMENTATION' "#include \"$PWD/uds_echo.h\"" >"$source"
fi
plain='-DUDS_ECHO_HAVE_EVENTFD=0 -DUDS_ECHO_HAVE_ACCEPT4=0 -DUDS_ECHO_HAVE_RENAMEAT2=0'

# verdict NAME: what is in the log is a finding.
verdict() {
    if grep -q . "$scratch/log"; then
        failed=$((failed + 1))
        echo "FAIL  $1"
        sed 's/^/      | /' "$scratch/log"
    else
        passed=$((passed + 1))
        echo "ok    $1"
    fi
}

gcc_one() {
    gcc -std=c99 -O0 -D_GNU_SOURCE -fanalyzer "$@" -c "$source" -o /dev/null >"$scratch/log" 2>&1 || return
    # -Wanalyzer-malloc-leak: when optimising it sees more, but not that a block is kept in the connection that was
    # handed over; that all is freed is counted by the fake kernel, over every failing call.
    gcc -std=c99 -O2 -D_GNU_SOURCE -fanalyzer -Wno-analyzer-malloc-leak "$@" -c "$source" -o /dev/null \
        >>"$scratch/log" 2>&1
}

clang_one() {
    clang --analyze -std=c99 -D_GNU_SOURCE -Xclang -analyzer-output=text -Xclang -analyzer-checker=core,unix,deadcode,\
security.insecureAPI.UncheckedReturn,security.FloatLoopCounter,nullability,optin.portability,alpha.unix.cstring.OutOfBounds \
        "$@" "$source" -o /dev/null >"$scratch/log" 2>&1
}

tidy_one() {
    # Off: dcl16-c wants 1L for 1l; easily-swappable-parameters is about two arguments of one type next to each other,
    # which functions that take bytes and a size, or two times, have.
    checks='-*,clang-analyzer-*,bugprone-*,cert-*,performance-*,portability-*,misc-redundant-expression'
    checks="$checks,-cert-dcl16-c,-bugprone-easily-swappable-parameters"
    clang-tidy --quiet --warnings-as-errors='*' --header-filter='uds_echo\.h' --checks="$checks" "$source" -- \
        -std=c99 -D_GNU_SOURCE "$@" 2>"$scratch/noise" >"$scratch/log"
}

cppcheck_one() {
    # normalCheckLevelMaxBranches: 2.17 tells how far it looked, and takes it for an error.
    cppcheck --quiet --std=c99 --enable=warning,performance,portability --inconclusive --error-exitcode=1 \
        --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches \
        -D__linux__ -D__GNUC__=12 -D_GNU_SOURCE -DSO_PEERCRED=17 -DO_CLOEXEC=1 \
        -DO_DIRECTORY=2 -DAT_SYMLINK_NOFOLLOW=4 -DCLOCK_MONOTONIC=1 "$@" "$source" >"$scratch/log" 2>&1
}

# analyze TOOL: over epoll, over poll, and without what a system need not have.
analyze() {
    case $1 in
    gcc) feature=gcc ;;
    clang) feature=clang ;;
    tidy) feature=clang-tidy ;;
    cppcheck) feature=cppcheck ;;
    *) echo "usage: analyze.sh gcc|clang|tidy|cppcheck|all [FILE]" >&2 && exit 2 ;;
    esac
    if ! sh "$here/need.sh" $feature; then
        skipped=$((skipped + 1))
        return
    fi
    for variant in epoll: poll:-DUDS_ECHO_USE_POLL "plain:$plain"; do
        [ -z "$file" ] || [ "$variant" = epoll: ] || continue
        "${1}_one" ${variant#*:}
        status=$?
        # A tool that did not run has found nothing, and shown nothing.
        [ $status -eq 0 ] || grep -q . "$scratch/log" || echo "exit status $status" >"$scratch/log"
        verdict "$1, ${variant%%:*}"
    done
}

if [ "$tool" = all ]; then
    for each in gcc clang tidy cppcheck; do analyze $each; done
else
    analyze "$tool"
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
