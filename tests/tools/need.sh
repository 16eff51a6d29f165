#!/bin/sh
# need.sh FEATURE ...: exit status 0 when all of them are here, after installing what is missing if that is possible and
# not forbidden (NO_INSTALL=1). Says in one line what it does before it does it. A feature is one of the names in
# check(), or NAME=PACKAGE: a program and the package of Debian that has it.
set -u
cc=${CC:-cc}

have_cmocka() {
    # shellcheck disable=SC2086 # CC may hold options
    printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' '#include <stdint.h>' '#include <setjmp.h>' \
        '#include <cmocka.h>' 'int main(void) { cmocka_set_message_output(CM_OUTPUT_STDOUT); return 0; }' |
        $cc -std=c99 -Werror -x c - -o /dev/null -lcmocka 2>/dev/null
}

# links HEADER LIBRARY
links() {
    # shellcheck disable=SC2086 # CC may hold options
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" |
        $cc -D_GNU_SOURCE -x c - -o /dev/null "-l$2" 2>/dev/null
}

# clang's runtime libraries come in a package of their own.
have_clang_rt() {
    echo 'int main(void) { return 0; }' |
        clang -fsanitize=address -fprofile-instr-generate -x c - -o /dev/null 2>/dev/null
}

have_fuzzer() {
    echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' |
        "${FUZZ_CC:-clang}" -fsanitize=fuzzer,address,undefined -x c - -o /dev/null 2>/dev/null
}

# Sets package and what for a feature, and tells whether it is here. instead: for a system that lacks one of the packages.
check() {
    instead=
    case $1 in
    cmocka) package=libcmocka-dev what='the C tests need cmocka' && have_cmocka ;;
    clang-rt)
        package='clang libclang-rt-dev' instead=clang what='this needs clang and its runtime libraries'
        have_clang_rt
        ;;
    fuzzer) package='clang libclang-rt-dev' instead=clang what='fuzzing needs clang and its runtime libraries' && have_fuzzer ;;
    afl) package='afl++ clang' what='fuzzing needs AFL++' && command -v afl-clang-fast >/dev/null && have_fuzzer ;;
    libuv) package=libuv1-dev what='this is compared with libuv' && links uv.h uv ;;
    libevent) package=libevent-dev what='this is compared with libevent' && links event2/event.h event_core ;;
    node) package=nodejs what='this needs node' && command -v node >/dev/null ;;
    seccomp) package=libseccomp-dev what='sandboxes need libseccomp' && links seccomp.h seccomp ;;
    gnuplot) package=gnuplot-nox what='the plots need gnuplot' && command -v gnuplot >/dev/null ;;
    llvm | llvm-cov) package=llvm what='this needs the tools of llvm' && command -v llvm-cov >/dev/null ;;
    mcdc)
        package='clang-19 llvm-19 libclang-rt-19-dev' what='MC/DC needs clang 19'
        command -v clang-19 >/dev/null && command -v llvm-cov-19 >/dev/null
        ;;
    scan-build) package=clang-tools what='this needs scan-build' && command -v scan-build >/dev/null ;;
    ?*=?*) package=${1#*=} what="this needs ${1%%=*}" && command -v "${1%%=*}" >/dev/null ;;
    clang | clang-tidy | clang-format | cppcheck | curl | gcc | make | ncat | objdump | perl | python3 | shellcheck | \
        socat | valgrind)
        package=$1 what="this needs $1"
        [ "$1" != objdump ] || package=binutils
        command -v "$1" >/dev/null
        ;;
    *) echo "need: unknown feature $1" >&2 && exit 2 ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

# One at a time: apt-get update does not wait for another.
apt_get() {
    as_root flock /var/lib/apt/lists env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -q "$@"
}

install_package() {
    # shellcheck disable=SC2086 # there may be several
    apt_get install -y --no-install-recommends $package
}

# 0: it is here, or was installed.
need() {
    check "$1" && return 0
    if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then
        echo "need: $what ($package), which is missing and NO_INSTALL forbids to install: skipped"
        return 1
    fi
    if ! may_install; then
        echo "need: $what ($package), which is missing and cannot be installed from here: skipped"
        return 1
    fi
    echo "need: $what: installing $package with apt-get (NO_INSTALL=1: skipped instead)"
    # A fresh machine has no package lists yet.
    if ! install_package >"$log" 2>&1; then
        { apt_get update && { install_package || { package=${instead:-$package} && install_package; }; }; } \
            >>"$log" 2>&1 || true
    fi
    check "$1" && return 0
    cat "$log"
    echo "need: $package could not be installed: skipped"
    return 1
}

[ $# -gt 0 ] || { echo "usage: need.sh FEATURE ..." >&2 && exit 2; }
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
for feature in "$@"; do need "$feature" || exit 1; done
