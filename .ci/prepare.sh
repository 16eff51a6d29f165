#!/bin/sh
# prepare.sh: gives a bare Debian or Ubuntu machine what `make` itself cannot: make and compilers. All else is installed by
# the scripts that need it. On a CI machine it also lowers the randomization of addresses to what the sanitizers of clang 14
# stand (28 bits); a machine of somebody's own is left as it is.
set -eu

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

missing=
for pair in make:make gcc:gcc g++:g++ clang:clang xz:xz-utils curl:ca-certificates; do
    command -v "${pair%%:*}" >/dev/null || missing="$missing ${pair#*:}"
done
# clang's sanitizers are in a package of their own.
if ! echo 'int main(void) { return 0; }' | clang -fsanitize=address -x c - -o /dev/null 2>/dev/null; then
    missing="$missing libclang-rt-dev"
fi
if [ -n "$missing" ] && command -v apt-get >/dev/null; then
    echo "prepare: installing$missing"
    as_root apt-get update -q
    # On Debian 11 the package of clang has them itself.
    apt-cache show libclang-rt-dev >/dev/null 2>&1 || missing=$(echo "$missing" | sed 's/ libclang-rt-dev//')
    # shellcheck disable=SC2086 # a list
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

bits=/proc/sys/vm/mmap_rnd_bits
if [ "${CI:-}" = true ] && [ -r $bits ] && [ "$(cat $bits)" -gt 28 ]; then
    echo "prepare: vm.mmap_rnd_bits=28"
    echo 28 | as_root tee $bits >/dev/null || echo "prepare: it stays at $(cat $bits)"
fi
