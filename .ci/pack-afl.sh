#!/bin/sh
# pack-afl.sh: what AFL++ found, as build/fuzz/afl.tar: its file names have colons, which artifacts may not.
set -eu
cd "$(dirname "$0")/.."
tar -cf build/fuzz/afl.tar -C build/fuzz afl
