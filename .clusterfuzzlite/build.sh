#!/bin/bash
# Builds every fuzz target into $OUT, in the way of OSS-Fuzz: $CC, $CXX, $CFLAGS, $CXXFLAGS and $LIB_FUZZING_ENGINE come from
# outside, and `make fuzz-engines` does the work. With each target go its seeds and kept inputs, its dictionary and its limits.
# FUZZ, if it is set, names the targets that are built. .ci/oss-fuzz.sh runs this locally.
set -eu

# An object of another run has other flags. The engine is C++, and so is what links it.
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
make -j"$(nproc)" fuzz-engines BUILD="$build" FUZZ_CC="$CC" FUZZ_FLAGS="$CFLAGS -std=c99 -I. -Itests/fake" \
    FUZZ_LINK="$CXX ${CXXFLAGS:-}" FUZZ_ENGINE="${LIB_FUZZING_ENGINE:--fsanitize=fuzzer}" ${FUZZ:+"FUZZ=$FUZZ"}

shopt -s nullglob
built=0
for engine in "$build"/fuzz/*; do
    [[ -f $engine && -x $engine ]] || continue
    name=$(basename "$engine")
    # Both backends of the poller share their seeds and crashes.
    home=${name%_poll}
    cp "$engine" "$OUT/fuzz_$name"
    inputs=("$build/fuzz/seeds/$home"/* "$build/fuzz/kept/$name"/* "$build/fuzz/crashes/$home"/*)
    if [ ${#inputs[@]} -gt 0 ] && command -v zip >/dev/null; then
        zip -q -j "$OUT/fuzz_${name}_seed_corpus.zip" "${inputs[@]}"
    fi
    [ ! -f "fuzz/dict/$home.dict" ] || cp "fuzz/dict/$home.dict" "$OUT/fuzz_$name.dict"
    printf '%s\n' '[libfuzzer]' 'max_len = 512' 'timeout = 5' 'rss_limit_mb = 1024' >"$OUT/fuzz_$name.options"
    built=$((built + 1))
done
sources=(fuzz/fuzz_*.c)
wanted=${#sources[@]}
[ -z "${FUZZ:-}" ] || wanted=$(wc -w <<<"$FUZZ")
echo "$built fuzz targets built, of $wanted at least"
[ "$built" -ge "$wanted" ]
