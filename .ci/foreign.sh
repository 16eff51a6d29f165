#!/bin/sh
# foreign.sh [COMPILER OPTION...]: the header on a system it does not serve (macOS, a BSD; with clang also by --target from
# anywhere). There the declarations must compile without a warning, since they are free of any system, and the
# implementation must refuse: the first thing a compiler says names the header and what is supported.
# Without arguments: cc, or on Linux clang for several targets.
set -u
passed=0 failed=0 skipped=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
printf '%s\n' '#include "uds_echo.h"' 'int use(uds_echo_server_desc *desc);' \
    'int use(uds_echo_server_desc *desc) { desc->mode = 0600; return uds_echo_serve(desc, NULL) == UDS_ECHO_OK; }' \
    >"$scratch/declared.c"
cp "$scratch/declared.c" "$scratch/declared.cpp"
printf '%s\n' '#define UDS_ECHO_IMPLEMENTATION' '#include "uds_echo.h"' >"$scratch/implemented.c"

verdict() { # STATUS TEXT
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)) word=ok; else failed=$((failed + 1)) word=FAIL; fi
    printf '%-5s %s\n' "$word" "$2"
    [ "$1" -eq 0 ] || sed 's/^/      | /' "$scratch/log"
}

# refuses COMPILER...: it fails, and its first error is the header's own.
refuses() {
    ! "$@" -I. -std=c99 -fsyntax-only "$scratch/implemented.c" >"$scratch/log" 2>&1 &&
        grep 'error:' "$scratch/log" | head -n 1 | grep -q 'uds_echo.h: this version supports Linux only'
}

system() {
    for language in '-std=c99 declared.c' '-std=c11 declared.c' '-std=c++11 declared.cpp' '-std=c++17 declared.cpp'; do
        "$@" -I. -Wall -Wextra -Wpedantic -Werror "${language% *}" -fsyntax-only "$scratch/${language#* }" \
            >"$scratch/log" 2>&1
        verdict $? "$*: declarations, ${language% *}"
    done
    refuses "$@"
    verdict $? "$*: the implementation says that it is for Linux only"
}

if [ $# -gt 0 ]; then
    system "$@"
elif [ "$(uname -s)" != Linux ]; then
    system "${CC:-cc}"
elif command -v clang >/dev/null; then
    for target in x86_64-unknown-freebsd14 x86_64-unknown-openbsd x86_64-unknown-netbsd arm64-apple-macos14; do
        system clang -ffreestanding -Wno-stdlibcxx-not-found "--target=$target"
    done
else
    echo "clang is not installed: nothing here compiles for another system"
    skipped=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
