#!/bin/sh
# oss-fuzz.sh: .clusterfuzzlite/build.sh locally, with what ClusterFuzzLite's image would give it, a target each: with the
# engine as a flag, with the engine as a library, and for a report of coverage. What it puts into $OUT must run.
set -u
cd "$(dirname "$0")/.." || exit 2
sh tests/tools/need.sh fuzzer llvm || { echo "0 passed, 0 failed, 1 skipped" && exit 1; }
passed=0 failed=0
scratch=$(mktemp -d) || exit 1
trap 'rm -rf "$scratch"' EXIT
make -s fuzz-inputs BUILD="$scratch/inputs" || exit 1
kept=$scratch/inputs/fuzz/kept

# build NAME TARGET ENGINE FLAGS INPUT...: into $OUT, and runs what came of it.
build() {
    name=$1 target=$2 engine=$3 flags=$4
    shift 4
    OUT=$scratch/$name
    mkdir "$OUT" || exit 1
    OUT=$OUT SRC=$PWD WORK=$scratch CC=clang CXX=clang++ CFLAGS="-O1 -g $flags" CXXFLAGS="-O1 -g $flags" \
        LIB_FUZZING_ENGINE=$engine FUZZ=$target bash .clusterfuzzlite/build.sh >"$scratch/log" 2>&1 &&
        grep -q 'max_len' "$OUT/fuzz_$target.options" &&
        LLVM_PROFILE_FILE=$OUT/profile "$OUT/fuzz_$target" -runs=100 "$@" >>"$scratch/log" 2>&1
}

verdict() { # STATUS TEXT
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)) word=ok; else failed=$((failed + 1)) word=FAIL; fi
    printf '%-5s %s\n' "$word" "$2"
    [ "$1" -eq 0 ] || tail -n 20 "$scratch/log" | sed 's/^/      | /'
}

build flag pollers_agree -fsanitize=fuzzer '-fsanitize=address -fsanitize=fuzzer-no-link' "$kept/pollers_agree"
verdict $? 'the engine is a flag'

library=$(clang -print-file-name="libclang_rt.fuzzer-$(uname -m).a")
[ -f "$library" ] || library=$(clang -print-runtime-dir)/libclang_rt.fuzzer-$(uname -m).a
build library address "$library" '-fsanitize=undefined -fsanitize=fuzzer-no-link' "$kept/address" &&
    [ -s "$scratch/library/fuzz_address.dict" ]
verdict $? 'the engine is a library, and the dictionary goes with the target'

# Without an engine's own counters there is nothing to explore, only files to run.
build coverage poller_poll -fsanitize=fuzzer '-fprofile-instr-generate -fcoverage-mapping' "$kept"/poller_poll/* &&
    llvm-profdata merge -o "$scratch/merged" "$scratch/coverage/profile" 2>>"$scratch/log" &&
    llvm-cov report "$scratch/coverage/fuzz_poller_poll" -instr-profile "$scratch/merged" 2>>"$scratch/log" |
    grep -q 'uds_echo\.h  *[1-9]'
verdict $? 'a report of coverage has the header in it'

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
