#!/bin/sh
# need.sh clang|afl: exit status 0 when that engine is here, after installing it if that is possible and not forbidden
# (NO_INSTALL=1). Says in one line what it does before it does it.
set -u
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

have() {
    case $1 in
    clang)
        printf '%s\n' 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return !d && n; }' |
            "${FUZZ_CC:-clang}" -fsanitize=fuzzer,address,undefined -x c - -o "$log" 2>/dev/null ;;
    afl) command -v afl-clang-fast >/dev/null && command -v afl-fuzz >/dev/null && have clang ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; }
}

install() {
    # shellcheck disable=SC2086 # several packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
        -o DPkg::Lock::Timeout=300 $packages
}

case ${1:-} in
clang) packages='clang libclang-rt-dev' ;;
afl) packages='afl++ clang libclang-rt-dev' ;;
*) echo "usage: need.sh clang|afl" >&2 && exit 2 ;;
esac

have "$1" && exit 0
if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then
    echo "need: fuzzing needs $packages, which is missing and NO_INSTALL forbids to install: nothing is fuzzed"
    exit 1
fi
if ! may_install; then
    echo "need: fuzzing needs $packages, which is missing and cannot be installed from here: nothing is fuzzed"
    exit 1
fi
echo "need: fuzzing needs $packages: installing with apt-get (NO_INSTALL=1: it is not)"
# A fresh machine has no package lists yet.
if ! install >"$log" 2>&1; then
    { as_root apt-get update -q && install; } >>"$log" 2>&1 || true
fi
have "$1" && exit 0
cat "$log"
echo "need: $packages could not be installed"
exit 1
