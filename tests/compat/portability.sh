#!/bin/sh
# portability.sh FOLDER [TARGET ...]: the tests over the fake kernel, the kept inputs of the fuzzers, the trace hashes and
# the compile matrix with other compilers, C libraries and processors; the programs of foreign processors are run, too.
# Where the processor and the kernel are the machine's own, the tests over real sockets are run as well.
#
# Installs what it needs where it may and says so first; NO_INSTALL=1 forbids that. What is missing is named and counted
# as skipped. STEPS='tests replay traces matrix' chooses what is done for each target. Ends with
# `N passed, N failed, N skipped`.
set -u
all='gcc clang-14 clang-new m32 musl tcc aarch64 s390x'
[ $# -ge 1 ] || { echo "usage: portability.sh FOLDER [TARGET ...]    ($all)" >&2 && exit 2; }
folder=$1
shift
[ $# -ge 1 ] || eval "set -- $all"
mkdir -p "$folder/bin" || exit 1
log=$folder/log
: >"$log"
PATH=$(cd "$folder/bin" && pwd):$PATH
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)

# ---- what has to be there --------------------------------------------------------------------------------------------

# The newest clang that the system has to offer; 19 is as new as is needed.
newest_clang() {
    for version in 19 18 17 16 15; do
        if command -v clang-$version >/dev/null || apt-cache show clang-$version >/dev/null 2>&1; then
            echo clang-$version
            return
        fi
    done
    echo clang-19
}

packages_of() {
    case $1 in
    gcc) echo gcc g++ libc6-dev ;;
    clang-14) echo clang-14 ;;
    clang-new) newest_clang ;;
    # gcc-multilib would remove the compilers for other processors.
    m32) echo gcc-12-multilib libc6-dev-i386 lib32stdc++-12-dev qemu-user ;;
    musl) echo musl-tools ;;
    tcc) echo tcc ;;
    aarch64) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user ;;
    s390x) echo gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user ;;
    esac
}

wrap() {
    printf '#!/bin/sh\nexec %s "$@"\n' "$2" >"$folder/bin/$1" && chmod +x "$folder/bin/$1"
}

# 0 also where it cannot be told yet, for want of the compiler.
runs_32_bits() {
    echo 'int main(void) { return 0; }' >"$folder/bits.c"
    ! gcc -m32 "$folder/bits.c" -o "$folder/bits" 2>/dev/null || "$folder/bits" 2>/dev/null
}

# Sets cc, cxx, link, runner, nm and os for a target. The kernel's headers of the machine do for 32 bits, too.
describe() {
    cc=gcc cxx='' link='' runner='' matrix_runner='' nm=nm os=OS=
    case $1 in
    gcc) cxx=g++ ;;
    clang-14) cc=clang-14 cxx=clang++-14 ;;
    clang-new) cc=$(newest_clang) && cxx=clang++-${cc#clang-} ;;
    m32)
        wrap m32-gcc "gcc -m32 -idirafter /usr/include/x86_64-linux-gnu"
        wrap m32-g++ "g++ -m32 -idirafter /usr/include/x86_64-linux-gnu"
        cc=m32-gcc cxx=m32-g++ os=
        # A kernel may have been told not to run 32 bits (ia32_emulation=off).
        runs_32_bits || runner=qemu-i386 matrix_runner=qemu-i386 os=OS= ;;
    musl) cc=musl-gcc link=-static os= ;;
    tcc) cc=tcc ;;
    aarch64 | s390x)
        cc=$1-linux-gnu-gcc link=-static runner=qemu-$1 nm=$1-linux-gnu-nm
        matrix_runner="qemu-$1 -L /usr/$1-linux-gnu" ;;
    *) echo "portability: no such target: $1" >&2 && exit 2 ;;
    esac
}

# It compiles and links and runs.
works() {
    printf '#include <sys/socket.h>\nint main(void) { return AF_UNIX == 1 ? 0 : 1; }\n' >"$folder/works.c"
    # shellcheck disable=SC2086 # flags are words
    { $cc $link "$folder/works.c" -o "$folder/works" && $runner "$folder/works"; } >/dev/null 2>&1 || return 1
    [ -z "$cxx" ] || "$cxx" -x c++ -fsyntax-only -include cstdlib "$folder/works.c" 2>/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -q \
        --no-install-recommends "$@" >>"$log" 2>&1
}

# All of what is missing at once; for what cannot be had see works().
install_missing() {
    missing=
    for target in "$@"; do
        describe "$target"
        works || missing="$missing $(packages_of "$target")"
    done
    [ -n "$missing" ] || return
    if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then return; fi
    command -v apt-get >/dev/null && { [ "$(id -u)" -eq 0 ] || sudo -n true 2>/dev/null; } || return
    echo "portability: installing with apt-get:$missing (NO_INSTALL=1: what needs them is skipped instead)"
    # shellcheck disable=SC2086 # packages are words
    install $missing || { as_root flock /var/lib/apt/lists apt-get update -q >>"$log" 2>&1 && install $missing; } ||
        for package in $missing; do install "$package"; done
}

# ---- a target --------------------------------------------------------------------------------------------------------

passed=0
failed=0
skipped=0

# Adds up what a step said: its last line of counts, or a failure. $1: target, $2: step, $3: its exit status.
count() {
    counts=$(awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { last = $1 " " $3 " " $5 } END { print last }' \
        "$folder/step")
    cat "$folder/step" >>"$log"
    [ -n "$counts" ] || counts="0 1 0"
    # shellcheck disable=SC2086 # three numbers
    set -- "$1" "$2" "$3" $counts
    [ "$3" -eq 0 ] || [ "$5" -gt 0 ] || set -- "$1" "$2" "$3" "$4" 1 "$6"
    passed=$((passed + $4)) failed=$((failed + $5)) skipped=$((skipped + $6))
    word=ok
    [ "$5" -eq 0 ] || word=FAIL
    printf '%-4s  %-10s %-32s %5d passed %3d failed %3d skipped  (%d s so far)\n' $word "$1" "$2" "$4" "$5" "$6" \
        $(($(date +%s) - began))
    [ "$5" -eq 0 ] || grep -v ' OK \] \| RUN  \|^ok ' "$folder/step" | sed 's/^/      | /' | tail -60
}

# shellcheck disable=SC2086 # flags and names are words
tests() {
    build=$folder/$1
    sh tests/tools/cmocka.sh "$folder/cmocka/$1" $cc || return 1
    make -s -j"$jobs" examples c-tests CC="$cc" BUILD="$build" CFLAGS='-O1 -g' CPPFLAGS="-isystem $folder/cmocka/$1" \
        LDFLAGS="-L$folder/cmocka/$1 $link" $os || return 1
    programs=$(find "$build/tests" -name 'test_*' -type f -perm -u+x | sort)
    TEST_RUNNER=$runner UDS_ECHO_BUILD=$build sh tests/tools/run.sh $programs
}

# Every input that is kept, with every target, as anybody may replay it.
# shellcheck disable=SC2086 # flags and names are words
replay() {
    inputs=$(find fuzz -type d \( -name 'corpus*' -o -name 'crashes*' -o -name 'seeds*' \))
    good=0 bad=0
    for fuzz in fuzz/fuzz_*.c; do
        grep -qE '"(fake_kernel|fuzz|harness)\.h"' "$fuzz" || continue
        name=$(basename "$fuzz" .c)
        kept=$(find $inputs -type f -path "*${name#fuzz_}/*")
        program=$folder/$1/replay_$name
        second=
        if grep -q '^#if.*UDS_ECHO_USE_POLL' "$fuzz"; then
            second=$program.poll.o
            $cc -std=c99 -O1 -DUDS_ECHO_USE_POLL -I. -Itests/fake -Ifuzz -c "$fuzz" -o "$second"
        fi
        if $cc $link -std=c99 -O1 -I. -Itests/fake -Ifuzz "$fuzz" $second fuzz/replay.c tests/fake/fake_kernel.c -o "$program" &&
            [ -n "$kept" ] && $runner "$program" $kept; then good=$((good + 1))
        else bad=$((bad + 1)) && echo "$name: failed"; fi
    done
    echo "$good passed, $bad failed, 0 skipped"
}

# The hashes of the generated inputs are committed, those of the corpora are as with the machine's own compiler: a run with
# one target only would compare it with itself.
reference() {
    [ ! -f "$folder/corpora" ] || return 0
    mkdir -p "$folder/native"
    TEST_RUNNER='' sh tests/compat/trace/trace.sh --lines "$folder/native" "${CC:-cc}" >"$folder/native/lines" || return 1
    grep ' corpus ' "$folder/native/lines" >"$folder/corpora"
}

# shellcheck disable=SC2086 # flags are words
traces() {
    reference || return 1
    TEST_RUNNER=$runner sh tests/compat/trace/trace.sh --lines "$folder/$1" $cc $link >"$folder/$1/lines" || return 1
    cat "$folder/$1/lines"
    # What this compiler leaves out is not missed.
    sed -n 's/^# left out: \([a-z_]*\):.*/^\1 /p' "$folder/$1/lines" >"$folder/left-out"
    cat tests/compat/trace/hashes.txt "$folder/corpora" | grep -v -f "$folder/left-out" | sort >"$folder/wanted"
    grep -v '^#' "$folder/$1/lines" | sort >"$folder/seen"
    good=$(comm -12 "$folder/wanted" "$folder/seen" | wc -l)
    bad=$(comm -3 "$folder/wanted" "$folder/seen" | wc -l)
    comm -3 "$folder/wanted" "$folder/seen"
    echo "$good passed, $bad failed, 0 skipped"
}

# gcc and clang are in `make test` as well, but not with every combination of the platform macros.
matrix() {
    every=0
    case $1 in gcc | tcc) every=1 ;; esac
    C_COMPILERS=$cc CXX_COMPILERS=$cxx TEST_RUNNER=$matrix_runner NM=$nm EVERY=$every sh tests/compat/compile.sh
}

began=$(date +%s)
install_missing "$@"
rm -f "$folder/corpora"
for target in "$@"; do
    describe "$target"
    if ! works; then
        # shellcheck disable=SC2046 # packages are words
        echo "skip  $target: not here:" $(packages_of "$target")
        skipped=$((skipped + 1))
        continue
    fi
    mkdir -p "$folder/$target"
    for step in ${STEPS:-tests replay traces matrix}; do
        "$step" "$target" >"$folder/step" 2>&1
        count "$target" "$step" $?
    done
done
echo "# the log is $log"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
