#!/bin/sh
# negative.sh BUILD: the checks are checked. Each program here has one deliberate fault, and the tool that is meant for
# it must fail and name it; a tool that says nothing would say nothing of the header either.
set -u
build=${1:-build/negative}
here=$(dirname "$0")
sh "$here/../../tools/need.sh" cmocka clang-rt gcc clang-tidy cppcheck || { echo "0 passed, 0 failed, 1 skipped"; exit 1; }
mkdir -p "$build"
passed=0
failed=0

# expect NAME PATTERN COMMAND...: it must fail, and say PATTERN.
expect() {
    name=$1 pattern=$2
    shift 2
    timeout -k 5 60 "$@" >"$build/log" 2>&1
    status=$?
    if [ $status -ne 0 ] && [ $status -ne 124 ] && [ $status -ne 137 ] && grep -q "$pattern" "$build/log"; then
        passed=$((passed + 1))
        echo "ok    $name: $(grep -o "$pattern" "$build/log" | head -n 1)"
    else
        failed=$((failed + 1))
        echo "FAIL  $name: exit status $status, and nothing of '$pattern'"
        sed 's/^/      | /' "$build/log"
    fi
}

# sanitizer NAME COMPILER FILE PATTERN FLAGS...
sanitizer() {
    name=$1 compiler=$2 file=$3 pattern=$4
    shift 4
    if "$compiler" -std=c99 -O1 -g -w "$@" "$here/$file" -o "$build/$name" -pthread >"$build/log" 2>&1; then
        expect "$name" "$pattern" "$build/$name"
    else
        failed=$((failed + 1))
        echo "FAIL  $name: does not compile"
        sed 's/^/      | /' "$build/log"
    fi
}

for cc in gcc clang; do
    sanitizer "address-$cc" $cc overflow.c 'AddressSanitizer: heap-buffer-overflow' -fsanitize=address
    sanitizer "leak-$cc" $cc leak.c 'LeakSanitizer: detected memory leaks' -fsanitize=address
    sanitizer "undefined-$cc" $cc shift.c 'shift exponent 32 is too large' -fsanitize=undefined \
        -fno-sanitize-recover=all
    sanitizer "thread-$cc" $cc race.c 'ThreadSanitizer: data race' -fsanitize=thread
done
sanitizer leak-alone-clang clang leak.c 'LeakSanitizer: detected memory leaks' -fsanitize=leak
sanitizer memory-clang clang uninitialised.c 'MemorySanitizer: use-of-uninitialized-value' -fsanitize=memory
clang -std=c99 -O1 -g -w -fsanitize=fuzzer "$here/hang.c" -o "$build/hang" &&
    expect fuzzer-timeout 'libFuzzer: timeout' "$build/hang" -timeout=2 -runs=10 -artifact_prefix="$build/"

# The fake kernel's own laws.
gcc -std=c99 -O1 -g -w -I. -Itests/fake -c tests/fake/fake_kernel.c -o "$build/fake_kernel.o" || exit 1
for test in lost wait; do
    gcc -std=c99 -O1 -g -w -I. -Itests/fake "$here/$test.c" "$build/fake_kernel.o" -o "$build/$test" -lcmocka || exit 1
done
CMOCKA_MESSAGE_OUTPUT=stdout
export CMOCKA_MESSAGE_OUTPUT
expect fake-descriptors 'left open at the end' "$build/lost"
expect fake-memory 'memory left allocated at the end' "$build/lost"
expect fake-hang 'nothing can happen' "$build/wait"

# The analysers, with the options of tests/tools/analyze.sh.
for tool in gcc clang tidy cppcheck; do
    expect "analyze-$tool" '[Nn]ull' sh "$here/../../tools/analyze.sh" "$tool" "$here/null.c"
done

# The runner of the tests: one that fails, one that runs nothing, one that does not end.
echo 'echo "0 passed, 1 failed, 0 skipped"; exit 1' >"$build/fails.sh"
echo 'exit 0' >"$build/empty.sh"
echo 'sleep 100' >"$build/endless.sh"
expect run-fails '0 passed, 1 failed, 0 skipped' sh tests/tools/run.sh "$build/fails.sh"
expect run-nothing 'it ran no test' sh tests/tools/run.sh "$build/empty.sh"
expect run-endless 'no end after 1 s' env TEST_TIMEOUT=1 sh tests/tools/run.sh "$build/endless.sh"

# The closing lines of each cmocka: the scripts that count tests must understand them all.
for version in 1.1.5 1.1.7 2.0; do
    printf '#!/bin/sh\ncat "%s"\nexit 1\n' "$here/cmocka-$version.txt" >"$build/users-$version"
    chmod +x "$build/users-$version"
    expect "run-cmocka-$version" '^3 passed, 2 failed, 3 skipped$' sh tests/tools/run.sh "$build/users-$version"
    expect "pairs-cmocka-$version" '^3 passed, 2 failed, 3 skipped$' sh tests/fault/pairs.sh 16 "$build/users-$version"
done

echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
