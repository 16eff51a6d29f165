#!/bin/sh
# need.sh PACKAGE ... : exit status 0 when all of these Debian packages are here, after installing those that are not if
# that is possible and not forbidden (NO_INSTALL=1). Says in one line what it does before it does it. A package counts as
# here when what it is needed for works, however it came.
set -u
cc=${CC:-cc}

# links HEADER LIBRARY
links() {
    # shellcheck disable=SC2086 # CC may hold options
    printf '#include <%s>\nint main(void) { return 0; }\n' "$1" |
        $cc -D_GNU_SOURCE -x c - -o /dev/null "-l$2" 2>/dev/null
}

here() {
    case $1 in
    libuv1-dev) links uv.h uv ;;
    libevent-dev) links event2/event.h event_core ;;
    nodejs) command -v node >/dev/null ;;
    gnuplot-nox) command -v gnuplot >/dev/null ;;
    python3 | socat | valgrind | gcc | ncat | curl | perl) command -v "$1" >/dev/null ;;
    *) echo "need: unknown package $1" >&2 && exit 2 ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

install() {
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 $missing
}

find_missing() {
    missing=
    for package in $packages; do
        case "$missing " in *" $package "*) continue ;; esac
        here "$package" || missing="$missing $package"
    done
}

[ $# -gt 0 ] || { echo "usage: need.sh PACKAGE ..." >&2 && exit 2; }
packages=$*
find_missing
[ -n "$missing" ] || exit 0
if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then
    echo "need: missing, and NO_INSTALL forbids to install:$missing"
    exit 1
fi
if ! may_install; then
    echo "need: missing, and cannot be installed from here:$missing"
    exit 1
fi
echo "need: installing with apt-get (NO_INSTALL=1: go without):$missing"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# A fresh machine has no package lists yet.
if ! install >"$log" 2>&1; then
    { as_root apt-get update -q && install; } >>"$log" 2>&1 || true
fi
find_missing
[ -n "$missing" ] || exit 0
cat "$log"
echo "need: could not be installed:$missing"
exit 1
