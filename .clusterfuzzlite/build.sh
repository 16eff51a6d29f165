#!/bin/bash
# Builds every fuzz target into $OUT, in the way of OSS-Fuzz: $CC, $CFLAGS and $CXXFLAGS come from outside, and
# `make fuzz-engines` does the work. With each target go its seeds and kept inputs, its dictionary and its limits.
set -eu

flags="$CFLAGS -std=c99 -I. -Itests"
# libFuzzer is C++: the linker needs the same library as it was built with.
case ${CXXFLAGS:-} in
*-stdlib=libc++*) flags="$flags -stdlib=libc++ -Wno-unused-command-line-argument" ;;
esac

# An object of another run has other flags.
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
make -j"$(nproc)" fuzz-engines BUILD="$build" FUZZ_CC="$CC" FUZZ_FLAGS="$flags"

shopt -s nullglob
built=0
for engine in "$build"/fuzz/*; do
    [[ -f $engine && -x $engine ]] || continue
    name=$(basename "$engine")
    # Both backends of the poller share their inputs.
    home=${name%_poll}
    cp "$engine" "$OUT/fuzz_$name"
    inputs=("$build/fuzz/seeds/$home"/* "fuzz/corpus/$home"/* "fuzz/crashes/$home"/*)
    if [ ${#inputs[@]} -gt 0 ] && command -v zip >/dev/null; then
        zip -q -j "$OUT/fuzz_${name}_seed_corpus.zip" "${inputs[@]}"
    fi
    [ ! -f "fuzz/dict/$home.dict" ] || cp "fuzz/dict/$home.dict" "$OUT/fuzz_$name.dict"
    printf '%s\n' '[libfuzzer]' 'max_len = 512' 'timeout = 5' 'rss_limit_mb = 1024' >"$OUT/fuzz_$name.options"
    built=$((built + 1))
done
sources=(fuzz/fuzz_*.c)
echo "$built fuzz targets built from ${#sources[@]} files"
[ "$built" -ge "${#sources[@]}" ]
