#!/bin/sh
# coverage.sh BUILD: what of uds_echo.h the tests run, by clang's source coverage; an HTML report in BUILD/html. Runs
# the tests over the fake kernel in all their builds, those over the real one, and the corpora of fuzz/ where there are any.
# MCDC=1: reports modified condition/decision coverage too, for which clang 19 is needed.
set -u
build=${1:-build/coverage}
here=$(dirname "$0")
# clang and its tools must be of one version; the plain names are.
version='' coverage='-fprofile-instr-generate -fcoverage-mapping' features='clang-rt llvm'
[ -z "${MCDC:-}" ] || version=-19 coverage="$coverage -fcoverage-mcdc" features=mcdc
# shellcheck disable=SC2086 # a list
sh "$here/../need.sh" cmocka $features python3 || { echo "0 passed, 0 failed, 1 skipped"; exit 1; }
rm -rf "$build"
mkdir -p "$build/raw"

flags="-O1 -g $coverage"
make -s -j2 c-tests CC=clang$version BUILD="$build" WERROR= CFLAGS="$flags -w" || exit 1
programs=$(find "$build/tests" -type f -name 'test_*' -perm -u+x | sort)

objects=
n=0
broken=0
for program in $programs; do
    n=$((n + 1))
    # What the tests find is for `make test` to say; here a failure only means that less was run. Children that are
    # killed leave no profile, and %c would need a page of its own each: %m merges those that end.
    LLVM_PROFILE_FILE="$build/raw/$n-%4m.profraw" timeout 300 "$program" >"$build/log" 2>&1 ||
        { broken=$((broken + 1)); echo "# failed: $program"; }
    objects="$objects -object $program"
    echo "# $n: ${program#"$build"/}"
done
make -s -j2 fuzz-replays CC=clang$version BUILD="$build" WERROR= CFLAGS="$flags -w" || exit 1
for corpus in "$build"/fuzz/kept/*/; do
    name=$(basename "$corpus")
    program=$build/fuzz/$name.replay
    LLVM_PROFILE_FILE="$build/raw/$name.profraw" timeout 300 "$program" "$corpus" >"$build/log" 2>&1 ||
        { broken=$((broken + 1)); echo "# failed: $name"; }
    objects="$objects -object $program"
    echo "# corpus of $name"
done
[ $broken -eq 0 ] || echo "# $broken programs failed: less was run than there is"
llvm-profdata$version merge -o "$build/profile" "$build"/raw/*.profraw || exit 1
# shellcheck disable=SC2086 # a list
{
    set -- $objects
    shift # the first is named without -object
    llvm-cov$version export -instr-profile "$build/profile" "$@" "$PWD/uds_echo.h" >"$build/export.json" &&
        llvm-cov$version show -format=html -show-branches=count -show-instantiations=false -instr-profile "$build/profile" \
            -output-dir "$build/html" "$@" "$PWD/uds_echo.h"
} || exit 1
echo "# report: $build/html/index.html"
python3 "$here/coverage.py" "$build/export.json" "$here/exclusions.txt"
