#!/bin/sh
# cmocka.sh FOLDER COMPILER [FLAG...]: cmocka for a compiler that Debian has no built one for: FOLDER/libcmocka.a and
# FOLDER/cmocka.h, made of Debian's source package. That is fetched once, into the folder beside it, with lists and
# settings of apt's that are private to it: neither /etc nor what is installed changes. Exit status 0: it is there.
set -u
[ $# -ge 2 ] || { echo "usage: cmocka.sh FOLDER COMPILER [FLAG...]" >&2 && exit 2; }
folder=$1
shift
[ -f "$folder/libcmocka.a" ] && [ -f "$folder/cmocka.h" ] && exit 0
mkdir -p "$folder" || exit 1
source=$(cd "$folder/.." && pwd)/cmocka-source

# What its own build asks the system about; every libc here has it.
has='-D_GNU_SOURCE -DHAVE_INTTYPES_H -DHAVE_SIGNAL_H -DHAVE_STRINGS_H -DHAVE_STRSIGNAL -DHAVE_SIGLONGJMP
    -DHAVE_STRUCT_TIMESPEC -DHAVE_CLOCK_REALTIME'

# The sources of the packages that this machine already gets from Debian.
sources() {
    # shellcheck disable=SC2016 # apt's names
    apt-get indextargets --format 'deb-src $(REPO_URI) $(RELEASE) $(COMPONENT)' \
        'Created-By: Packages' 'Origin: Debian' 'Component: main' | sort -u
}

private_apt() {
    apt-get -q -o Dir::Etc::SourceList="$1/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$1/lists" -o Dir::Cache="$1/cache" -o APT::Sandbox::User= "$2" ${3:+"$3"} ${4:+"$4"}
}

fetch() {
    command -v apt-get >/dev/null || { echo "cmocka: there is no apt-get" && return 1; }
    private=$(mktemp -d) || return 1
    trap 'rm -rf "$private"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir -p "$private/lists/partial" "$private/cache/archives/partial" "$private/source"
    sources >"$private/sources.list"
    [ -s "$private/sources.list" ] || { echo "cmocka: apt knows no source of Debian's (apt-get update?)" && return 1; }
    private_apt "$private" update >"$private/log" 2>&1 &&
        (cd "$private/source" && private_apt "$private" source --download-only cmocka) >>"$private/log" 2>&1 &&
        tar -x -f "$private"/source/cmocka_*.orig.tar.[gx]z -C "$private/source" 2>>"$private/log" &&
        mv "$private"/source/cmocka-*/ "$source" && return 0
    cat "$private/log"
    return 1
}

if ! [ -d "$source" ]; then
    if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then
        echo "cmocka: its source is missing, and NO_INSTALL forbids to fetch it"
        exit 1
    fi
    echo "cmocka: fetching Debian's source package into $source"
    fetch || { echo "cmocka: its source cannot be had" && exit 1; }
fi
# shellcheck disable=SC2086 # flags are words
"$@" $has -O1 -I"$source/include" -c "$source/src/cmocka.c" -o "$folder/cmocka.o" &&
    rm -f "$folder/libcmocka.a" && ar rc "$folder/libcmocka.a" "$folder/cmocka.o" &&
    cp "$source/include/cmocka.h" "$folder/" && rm -f "$folder/cmocka.o"
