#!/bin/sh
# need.sh cmocka: exit status 0 when C tests can be built here, after installing what they need if that is possible and
# not forbidden (NO_INSTALL=1). Says in one line what it does before it does it.
set -u
cc=${CC:-cc}

have_cmocka() {
    # shellcheck disable=SC2086 # CC may hold options
    printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' '#include <stdint.h>' '#include <setjmp.h>' \
        '#include <cmocka.h>' 'int main(void) { cmocka_set_message_output(CM_OUTPUT_STDOUT); return 0; }' |
        $cc -std=c99 -Werror -x c - -o /dev/null -lcmocka 2>/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

may_install() {
    command -v apt-get >/dev/null || return 1
    [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null
}

install_cmocka() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends libcmocka-dev
}

case ${1:-} in
cmocka) ;;
*) echo "usage: need.sh cmocka" >&2 && exit 2 ;;
esac

have_cmocka && exit 0
if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then
    echo "need: the C tests need cmocka (libcmocka-dev), which is missing and NO_INSTALL forbids to install: skipped"
    exit 1
fi
if ! may_install; then
    echo "need: the C tests need cmocka (libcmocka-dev), which is missing and cannot be installed from here: skipped"
    exit 1
fi
echo "need: the C tests need cmocka: installing libcmocka-dev with apt-get (NO_INSTALL=1: they are skipped instead)"
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# A fresh machine has no package lists yet.
if ! install_cmocka >"$log" 2>&1; then
    { as_root apt-get update -q && install_cmocka; } >>"$log" 2>&1 || true
fi
have_cmocka && exit 0
cat "$log"
echo "need: cmocka could not be installed: the C tests are skipped"
exit 1
