#!/bin/sh
# package.sh: the header as a dependency of other projects. A program in C and one in C++ find the header through CMake,
# Meson and pkg-config, are built under strict warnings, and run. The lines that use the header are those of README.md,
# and each of them is used. `make install` and `cmake --install` install exactly the wanted files, and `make uninstall`
# leaves none.
#
# The packages are made from a copy of the project, whose header has another version. So a version that is not the
# header's is noticed, and a program that was built with another header of the machine.
#
# Everything is in a temporary directory, which is removed. A case whose tool is missing is named and skipped.
# Ends with `N passed, N failed, N skipped`.
# shellcheck disable=SC2016 # some of the text in single quotes is for CMake or eval
set -u
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
cd "$top" || exit 1
dir=$(mktemp -d) || exit 1
dir=$(cd "$dir" && pwd -P) || exit 1
trap 'rm -rf "$dir"' EXIT
groups=
# shellcheck disable=SC2086 # several, or none
trap 'kill $groups 2>/dev/null; exit 1' HUP INT TERM

# CMake and Meson read these. Nothing else of the caller's environment or make changes what is built.
warnings='-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Werror'
export CC="${CC:-cc}" CXX="${CXX:-c++}" CFLAGS="-std=c99 $warnings" CXXFLAGS="-std=c++11 $warnings"
unset MAKEFLAGS MFLAGS MAKELEVEL PREFIX DESTDIR includedir pkgconfigdir CPPFLAGS LDFLAGS CPATH C_INCLUDE_PATH \
    CPLUS_INCLUDE_PATH PKG_CONFIG_PATH PKG_CONFIG_LIBDIR CMAKE_PREFIX_PATH uds_echo_DIR uds_echo_ROOT

# ---- tools -----------------------------------------------------------------------------------------------------------

check() { # TEXT COMMAND...
    text=$1
    shift
    if (cd "$work" && "$@") >"$work/said" 2>&1; then
        echo "ok    $text"
    else
        echo "FAIL  $text"
        tail -n 15 "$work/said" | sed 's/^/      | /'
    fi
}

# with "TOOL ..." TEXT COMMAND...: a check that needs these tools
missing=' '
with() {
    for tool in $1; do
        case $missing in *" $tool "*) echo "skip  $2: $tool is missing" && return ;; esac
    done
    shift
    check "$@"
}

# Groups of checks run side by side, each in a directory of its own.
group() { # FUNCTION
    work=$dir/$1
    mkdir "$work" && "$1" >"$dir/$1.checks"
}

# An empty directory, with the program in it, and the copy of the project in DIRECTORY.
begin() { # PROGRAM [DIRECTORY]
    rm -rf app && mkdir app && cp "$top/tests/package/$1" app && cd app || return 1
    [ $# -eq 1 ] || { mkdir -p "$2" && cp -R "$dir/new/." "$2"; }
}

runs() { # PROGRAM: it prints the version of its header
    said=$("$1") && echo "$1: $said" && [ "$said" = "$version" ]
}

cxx=${CXX%% *}
for tool in cmake=cmake meson=meson ninja=ninja-build pkg-config=pkg-config "$cxx=g++"; do
    sh tests/tools/need.sh "$tool" || missing="$missing${tool%=*} "
done
# Ninja takes half the time of make. CMake before 3.15 does not read the variable.
case $missing in *' ninja '*) ;; *) export CMAKE_GENERATOR=Ninja ;; esac

# ---- README.md -------------------------------------------------------------------------------------------------------

readme() { # LANGUAGE: all lines of the section in this language, without comments
    sed -n '/^## Use it from CMake/,/^## [^U]/p' "$top/README.md" | sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" |
        grep -v '^```\|^#\|^$'
}

lines() { # LANGUAGE PATTERN: the lines that match, which count as used
    readme "$1" | grep -E "$2" | tee -a "$dir/used"
}

each_is_used() {
    for language in cmake meson sh; do readme $language; done | sort >wanted
    sort -u "$dir/used" | diff - wanted && [ "$(wc -l <wanted)" -ge 8 ]
}

# ---- the copies ------------------------------------------------------------------------------------------------------

copy() { # NAME MAJOR MINOR PATCH: into $dir/NAME, and installed in $dir/NAME.prefix
    mkdir "$dir/$1" &&
        tar -cf - Makefile CMakeLists.txt meson.build packaging LICENSE tests/gates.mk fuzz/fuzz.mk bench/bench.mk |
        tar -C "$dir/$1" -xf - &&
        sed "s/^\(#define UDS_ECHO_VERSION_MAJOR\) .*/\1 $2/; s/^\(#define UDS_ECHO_VERSION_MINOR\) .*/\1 $3/
             s/^\(#define UDS_ECHO_VERSION_PATCH\) .*/\1 $4/" uds_echo.h >"$dir/$1/uds_echo.h" &&
        make -s -C "$dir/$1" install PREFIX="$dir/$1.prefix"
}
version=7.8.9
prefix=$dir/new.prefix
if ! { copy new 7 8 9 && copy old 0 8 9; }; then
    echo "FAIL  make install"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi

# ---- install, uninstall, pkg-config ----------------------------------------------------------------------------------

first_line_agrees() {
    read -r first <"$top/uds_echo.h"
    macros=$(sed -n 's/^#define UDS_ECHO_VERSION_[A-Z]* //p' "$top/uds_echo.h" | paste -s -d .)
    case $first in *" v$macros "*) ;; *) echo "$first" && false ;; esac
}

are_installed() { # DIRECTORY INCLUDE PKGCONFIG: these files and no others, whole, and everybody may read them
    printf '%s\n' "$2/uds_echo.h" "$3/uds_echo.pc" share/cmake/uds_echo/uds_echo-config-version.cmake \
        share/cmake/uds_echo/uds_echo-config.cmake share/licenses/uds_echo/LICENSE | sort >wanted
    (cd "$1" && find . ! -type d -perm 644 | sed 's/^..//' | sort) | diff - wanted && ! grep -r '@[A-Z]*@' "$1" &&
        cmp "$1/$2/uds_echo.h" "$dir/new/uds_echo.h" && cmp "$1/share/licenses/uds_echo/LICENSE" "$top/LICENSE"
}

installs() { # PREFIX INCLUDE PKGCONFIG VARIABLE=VALUE ...
    installed=$PWD/stage$1 include=$2 pkgconfig=$3
    shift 3
    umask 077
    rm -rf stage && make -C "$dir/new" install DESTDIR="$PWD/stage" "$@" &&
        are_installed "$installed" "$include" "$pkgconfig" && : >"$installed/include/other.h" &&
        make -C "$dir/new" uninstall DESTDIR="$PWD/stage" "$@" && [ -e "$installed/include/other.h" ] &&
        rm "$installed/include/other.h" && [ -z "$(find stage ! -type d -o -name uds_echo)" ]
}

cmake_installs() {
    rm -rf stage && cmake -S "$dir/new" -B by_cmake && DESTDIR=$PWD/stage cmake --build by_cmake --target install &&
        are_installed stage/usr/local include share/pkgconfig
}

# The two differ in the prefix of uds_echo.pc alone.
cmake_installs_the_same() {
    cmake -DCMAKE_INSTALL_PREFIX="$PWD/other" -P by_cmake/cmake_install.cmake && diff -r -x uds_echo.pc other "$prefix" &&
        [ "$(diff other/share/pkgconfig/uds_echo.pc "$prefix/share/pkgconfig/uds_echo.pc" | grep -c '^[<>]')" -eq 2 ]
}

# The packages in an existing build directory follow the header.
cmake_follows() {
    cp -R "$dir/new" later && cmake -S later -B later/build &&
        sed -i 's/^\(#define UDS_ECHO_VERSION_PATCH\) .*/\1 10/' later/uds_echo.h &&
        cmake --build later/build && grep -x 'Version: 7.8.10' later/build/uds_echo.pc
}

cc() { # what README.md calls a compiler
    # shellcheck disable=SC2086 # each may be several words
    command $CC $CFLAGS "$@"
}
cxx() {
    # shellcheck disable=SC2086 # each may be several words
    command $CXX $CXXFLAGS "$@"
}
by_pkg_config() { # PROGRAM EDIT: of README.md's line
    begin "$1" && line=$(lines sh '^cc ' | sed "$2") && export PKG_CONFIG_PATH="$prefix/share/pkgconfig" && echo "$line" &&
        eval "$line" && runs ./app
}

pkg_config_knows() { # DIRECTORY INCLUDE: the version, and where the header is
    export PKG_CONFIG_PATH="$1"
    pkg-config --validate uds_echo && [ "$(pkg-config --modversion uds_echo)" = $version ] &&
        pkg-config --exists 'uds_echo >= 7.8' && ! pkg-config --exists 'uds_echo >= 7.9' &&
        [ "$(cd "$(pkg-config --variable=includedir uds_echo)" && pwd)" = "$(cd "$2" && pwd)" ]
}
own_directories_are_known() {
    make -C "$dir/new" install PREFIX="$PWD/own" includedir="$PWD/far/include" pkgconfigdir="$PWD/far/pc" &&
        pkg_config_knows "$PWD/far/pc" far/include && grep -F "\"$PWD/far/include\"" own/share/cmake/uds_echo/*-config.cmake
}

installing() {
    check 'the first line of the header has the version of its macros' first_line_agrees
    check 'make install, make uninstall' installs /usr/local include share/pkgconfig
    check 'make install, make uninstall: PREFIX and directories' installs /opt/x include/uds lib/pkgconfig \
        PREFIX=/opt/x includedir=/opt/x/include/uds pkgconfigdir=/opt/x/lib/pkgconfig
    with cmake 'cmake --install: the files' cmake_installs
    with cmake 'cmake --install: the same as make install' cmake_installs_the_same
    with cmake 'cmake --install: a version that changes' cmake_follows
    with pkg-config 'pkg-config: versions' pkg_config_knows "$prefix/share/pkgconfig" "$prefix/include"
    with pkg-config 'pkg-config: directories' own_directories_are_known
    with 'pkg-config cmake' 'pkg-config: as cmake installs it' pkg_config_knows "$work/other/share/pkgconfig" other/include
    with pkg-config 'pkg-config, C' by_pkg_config app.c ''
    with "pkg-config $cxx" 'pkg-config, C++' by_pkg_config app.cpp 's/^cc app.c/cxx app.cpp/'
}

# ---- CMake -----------------------------------------------------------------------------------------------------------

by_cmake() { # PROGRAM PATTERN DIRECTORY [ARGUMENT ...]: README.md's lines of the pattern
    program=$1 pattern=$2 directory=$3
    shift 3
    begin "$program" ${directory:+"$directory"} || return 1
    case $program in *.cpp) language=CXX ;; *) language=C ;; esac
    {
        printf '%s\n' 'cmake_minimum_required(VERSION 3.14)' "project(app LANGUAGES $language)" \
            "add_executable(app $program)"
        lines cmake "$pattern"
        lines cmake '^target_link_libraries'
    } >CMakeLists.txt
    cmake -S . -B build "$@" && cmake --build build && runs build/app
}

cmake_finds_moved() {
    make -C "$dir/new" install PREFIX="$PWD/first" && mv first second &&
        by_cmake app.cpp '^find_package' '' -DCMAKE_PREFIX_PATH="$PWD/second"
}

# Each request is accepted or refused as it should be, by 7.8.9 and by 0.8.9, where the interface may change between
# minor versions.
cmake_knows_versions() {
    mkdir request || return 1
    {
        printf '%s\n' 'cmake_minimum_required(VERSION 3.14)' 'project(request LANGUAGES NONE)' \
            'function(request prefix want)' '    set(uds_echo_ROOT "${prefix}")' '    unset(uds_echo_DIR CACHE)' \
            '    set(uds_echo_FOUND 0)' '    find_package(uds_echo ${ARGN} QUIET)' \
            '    if(NOT uds_echo_FOUND STREQUAL want OR (want AND NOT uds_echo_VERSION MATCHES "^[70]\\.8\\.9$"))' \
            '        message(SEND_ERROR "${prefix} ${ARGN}: ${uds_echo_FOUND} ${uds_echo_VERSION}, not ${want}")' \
            '    endif()' 'endfunction()'
        for request in 7 7.8 7.8.9 '7.8.9 EXACT' 7.0 ''; do echo "request($prefix 1 $request)"; done
        for request in 8 7.9 7.8.10 6 6.9 0.8 '7.8 EXACT'; do echo "request($prefix 0 $request)"; done
        for request in 0.8 0.8.9 '0.8.9 EXACT' 0.8.0 ''; do echo "request($dir/old.prefix 1 $request)"; done
        for request in 0.9 0.8.10 0.7 1 0 0.80; do echo "request($dir/old.prefix 0 $request)"; done
    } >request/CMakeLists.txt
    cmake -S request -B request/build
}

cmake_uses() {
    with cmake 'CMake, add_subdirectory, C' by_cmake app.c '^add_subdirectory' uds_echo
    with "cmake $cxx" 'CMake, add_subdirectory, C++' by_cmake app.cpp '^add_subdirectory' uds_echo
    with cmake 'CMake, FetchContent, C' by_cmake app.c '^include|^FetchContent' uds_echo
    with "cmake $cxx" 'CMake, FetchContent, C++, overridden' by_cmake app.cpp '^include|^FetchContent' '' \
        -DFETCHCONTENT_SOURCE_DIR_UDS_ECHO="$dir/new"
    with cmake 'CMake, find_package, C' by_cmake app.c '^find_package' '' -DCMAKE_PREFIX_PATH="$prefix"
    with "cmake $cxx" 'CMake, find_package, C++, in an installed tree that was moved' cmake_finds_moved
    with cmake 'CMake, find_package with a version' cmake_knows_versions
}

# ---- Meson -----------------------------------------------------------------------------------------------------------

by_meson() { # PROGRAM DIRECTORY
    begin "$1" ${2:+"$2"} || return 1
    case $1 in *.cpp) language=cpp ;; *) language=c ;; esac
    {
        echo "project('app', '$language', meson_version: '>=0.56.0')"
        lines meson '^executable' | sed "s/'app.c'/'$1'/"
        echo "assert(dependency('uds_echo').version() == '$version')"
        [ -n "$2" ] || echo "assert(not dependency('uds_echo', version: '>=7.9', required: false).found())"
    } >meson.build
    [ -n "$2" ] || export PKG_CONFIG_PATH="$prefix/share/pkgconfig"
    meson setup build && ninja -C build && runs build/app && ! grep -n WARNING build/meson-logs/meson-log.txt
}

meson_uses() {
    with 'meson ninja' 'Meson, subproject, C' by_meson app.c subprojects/uds_echo
    with "meson ninja $cxx" 'Meson, subproject, C++' by_meson app.cpp subprojects/uds_echo
    with 'meson ninja pkg-config' 'Meson, installed, C' by_meson app.c ''
    with "meson ninja pkg-config $cxx" 'Meson, installed, C++' by_meson app.cpp ''
}

# ---- all of them -----------------------------------------------------------------------------------------------------

each_line() {
    with 'cmake meson ninja pkg-config' 'each line of README.md was used' each_is_used
}

group cmake_uses &
groups=$!
group meson_uses &
groups="$groups $!"
group installing
wait
groups=
group each_line
cat "$dir/installing.checks" "$dir/cmake_uses.checks" "$dir/meson_uses.checks" "$dir/each_line.checks" >"$dir/checks"
grep -v '^ok ' "$dir/checks"
wanted=23
passed=$(grep -c '^ok ' "$dir/checks")
failed=$(grep -c '^FAIL ' "$dir/checks")
skipped=$(grep -c '^skip ' "$dir/checks")
if [ $((passed + failed + skipped)) -ne $wanted ]; then
    echo "FAIL  not $wanted checks"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
