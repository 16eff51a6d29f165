#!/bin/sh
# integer.sh FOLDER: the tests over the fake kernel under UBSan with clang's checks of integers: unsigned wrap-around and
# conversions that change a value, too. What is left out stands with its reason in integer.ignore.
set -u
[ $# -eq 1 ] || { echo "usage: integer.sh FOLDER" >&2 && exit 2; }
sh tests/tools/need.sh cmocka clang-rt || { echo "0 passed, 0 failed, 1 skipped" && exit 0; }
make -s -j"$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)" fake-tests CC=clang BUILD="$1" CFLAGS="-O1 -g \
    -fsanitize=undefined,integer -fno-sanitize-recover=all -fsanitize-ignorelist=tests/tools/integer.ignore" || exit 1
# shellcheck disable=SC2046 # programs are words
UDS_ECHO_BUILD=$1 sh tests/tools/run.sh $(find "$1/tests/unit" "$1/tests/fault" -name 'test_*' -type f -perm -u+x | sort)
